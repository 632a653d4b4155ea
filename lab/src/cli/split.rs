//! `alambic-lab split`: what each device of a fleet would hold, as folders.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use lab::data::{self, Asked, Partition};
use lab::folders;

use super::{Failure, write_json};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  alambic-lab split --data har --out ./devices
  alambic-lab split --data mydata.npz --partition dirichlet:0.1 --agents 20 --out ./devices")]
pub(crate) struct SplitArguments {
    /// har, digits, or an NPZ file with X_train, y_train, X_test, y_test
    #[arg(long, value_name = "NAME|FILE")]
    data: String,
    /// What rows are labelled with: class or number
    #[arg(long, default_value = "class", value_parser = super::labelled)]
    target: Asked,
    /// natural, iid, group, dirichlet:ALPHA or shards:CLASSES [default: natural
    /// where the data says whose rows they are, group where it says which belong
    /// together, else dirichlet:0.1]
    #[arg(long)]
    partition: Option<Partition>,
    /// Devices; ignored for natural
    #[arg(long, default_value_t = 10, value_parser = super::at_least_one)]
    agents: usize,
    /// Seed of the partition
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder to make; a folder for each device, and test.npz
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

/// Writes the folders and says what is in them.
pub(crate) fn run(arguments: SplitArguments) -> Result<(), Failure> {
    let data = super::open(&arguments.data, arguments.target)?;
    let how = arguments.partition.unwrap_or(Partition::usual(&data.train));
    let parts = data::partition(
        &data.train,
        data.classes.len(),
        how,
        arguments.agents,
        arguments.seed,
    )?;
    folders::write(&data, &parts, &arguments.out)?;
    if arguments.json {
        let folder = |device| arguments.out.join(folders::name(device));
        let devices: Vec<_> = { parts.iter().enumerate() }
            .map(|(device, rows)| json!({ "folder": folder(device), "rows": rows.len() }))
            .collect();
        let test = arguments.out.join(folders::TEST);
        let told = json!({
            "partition": how.to_string(), "devices": devices, "test": test,
            "test_rows": data.test.labels.len(),
        });
        return write_json(Path::new("-"), &told);
    }
    let out = arguments.out.display();
    println!("{} devices, {how}, in {out}", parts.len());
    println!("next: alambic-agent run --data {out}/device-000");
    println!("      alambic-agent predict --input {out}/test.npz");
    Ok(())
}
