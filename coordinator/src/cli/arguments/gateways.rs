//! What may be typed about gateways: those of a fleet, and being one.

use clap::Subcommand;

use super::values::duration_ms;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum GatewayCommand {
    /// On the coordinator: create a token that lets gateways join
    #[command(after_help = "Example:\n  alambic-coordinator gateway token --ttl 1h")]
    Token {
        /// How long it is valid: a number and s, m, h or d
        #[arg(long, default_value = "1h", value_parser = duration_ms, value_name = "TIME")]
        ttl: u64,
        /// How many gateways it admits
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        uses: u32,
        /// Print the token and its expiry as JSON
        #[arg(long)]
        json: bool,
    },
    /// On the coordinator: list the gateways, their devices and what they save
    #[command(after_help = "Example:\n  alambic-coordinator gateway list --json")]
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// On the coordinator: put a gateway out; its devices are to be led elsewhere
    ///
    /// Its connection ends at once and its key is never let in again. Devices
    /// that it passed on stay members, and connect again where their
    /// configuration leads them.
    #[command(after_help = "Example:\n  alambic-coordinator gateway revoke hall-3 --reason stolen")]
    Revoke {
        /// Its id, the first digits of that, or its name
        gateway: String,
        /// Why, for the record
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// On the gateway's host: join a fleet with a token for gateways
    ///
    /// The gateway's key is made here and stays here.
    #[command(after_help = "Example:
  alambic-coordinator gateway enrol --state ./gateway --coordinator fleet.example:4433 \\
      --token alambic1... --name hall-3")]
    Enrol {
        /// The coordinator: host:port, or several with commas
        #[arg(long, value_name = "HOST:PORT")]
        coordinator: String,
        /// The token, which `gateway token` printed
        #[arg(
            long,
            env = "ALAMBIC_TOKEN",
            hide_env_values = true,
            value_name = "TOKEN"
        )]
        token: String,
        /// A name for people
        #[arg(long, default_value = "", value_name = "NAME")]
        name: String,
        /// Print who joined as JSON
        #[arg(long)]
        json: bool,
    },
    /// On the gateway's host: serve devices until interrupted
    #[command(
        after_help = "Example:\n  alambic-coordinator gateway run --state ./gateway --listen 0.0.0.0:4433"
    )]
    Run {
        /// The coordinator: host:port, or several with commas [default: where it joined]
        #[arg(long, value_name = "HOST:PORT")]
        coordinator: Option<String>,
        /// Address and UDP port for devices [default: 0.0.0.0:4433]
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<String>,
        /// Address and TCP port of the metrics, or off [default: 127.0.0.1:4482]
        #[arg(long, value_name = "IP:PORT|off")]
        metrics: Option<String>,
    },
}
