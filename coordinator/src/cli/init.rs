//! `init`: a state directory with all a coordinator needs.

use std::path::Path;

use common::trust::clock::Clock;
use serde_json::json;

use super::failure::Failure;
use crate::config::{Config, SYSTEM_FILE};
use crate::identity::{Identity, TRUST_ROOT, write_new};
use crate::state_dir::{FILE_NAME, STATE_DEFAULT};

/// The configuration that is put into a new state directory.
const ANNOTATED: &str = include_str!("../../../configs/coordinator.toml");

pub(super) fn init(config: &Config, if_missing: bool, as_json: bool) -> Result<(), Failure> {
    let state = &config.state;
    // The trust root is what is written last: what was cut off before is not
    // taken for a state directory that was made.
    if if_missing && state.join(TRUST_ROOT).exists() {
        println!("{} was made before and stays as it is", state.display());
        return Ok(());
    }
    let identity = Identity::generate(&config.addresses, Clock::system().now())?;
    identity.create_in(state)?;
    let system_file = Path::new(SYSTEM_FILE);
    let file = if state == Path::new(STATE_DEFAULT) && system_file.exists() {
        system_file.to_owned()
    } else {
        state.join(FILE_NAME)
    };
    if !file.exists() {
        write_new(&file, ANNOTATED, 0o600)?;
    }
    let authority = identity.authority.fingerprint();
    let release_key = identity.release_key.verifying_key();
    if as_json {
        let made = json!({
            "state": state,
            "config": file,
            "authority": authority,
            "release_key": release_key,
        });
        println!("{made}");
        return Ok(());
    }
    println!("made the state directory {}", state.display());
    println!("  configuration   {}", file.display());
    println!("  authority       {authority} (SHA-256)");
    println!("  release key     {release_key}");
    println!("keep a copy of ca-key.pem and release-key.pem in a safe place, and root-key.pem");
    println!("nowhere else: `alambic-coordinator key offline --out FILE` takes it away");
    println!("next: {}", super::to_serve(state));
    Ok(())
}
