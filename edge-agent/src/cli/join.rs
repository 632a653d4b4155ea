//! Joining at the first start, with the token that the service manager hands
//! over.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use common::trust::token::JoinToken;
use tracing::{info, warn};

use super::{ExitCode, Failure};
use crate::anew::{self, enrol_again};
use crate::config::Config;
use crate::enrol::{Joining, enrol};
use crate::identity::Membership;
use crate::machine::{self, MACHINE_ID};
use crate::state::StateDir;

/// The credential's name, in the folder that `CREDENTIALS_DIRECTORY` names
/// (`LoadCredential=` of the unit).
const CREDENTIAL: &str = "join-token";

/// What the unit hands over where the operator put no token.
const NO_TOKEN: &str = "none";

/// Enrols a device that has not joined, if it was handed a token. A device
/// that has joined needs none: the token is not even looked at.
///
/// # Errors
/// If there is a token and the device could not join with it.
pub(super) async fn join_if_new(
    config: &Config,
    state: &StateDir,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<(), Failure> {
    anew::finish(state)?;
    let has_joined = Membership::load(state)?.is_some();
    if has_joined && !is_to_join_again(config, state)? {
        return Ok(());
    }
    let Some(path) = environment("CREDENTIALS_DIRECTORY").map(|folder| token_path(folder.as_ref()))
    else {
        return without_token(has_joined);
    };
    let Some(token) = read(&path)? else {
        return without_token(has_joined);
    };
    let Some(coordinator) = config.coordinator.clone() else {
        let message = "there is a join token, but no coordinator to join";
        let advice = "set coordinator.address in /etc/alambic/agent.toml";
        return Err(Failure::new(ExitCode::Usage, message).advise(advice));
    };
    let joining = Joining {
        coordinator,
        token,
        // Nobody is there to give it a name: the machine has one.
        label: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    };
    let waiting = |device| info!(%device, "waits for an operator to approve it");
    let membership = match has_joined {
        true => enrol_again(state, &joining, waiting).await?,
        false => enrol(state, &joining, waiting).await?,
    };
    info!(device = %membership.device, "joined the fleet; the token is not needed again");
    Ok(())
}

/// Whether a device that has joined joins once more: its state was copied from
/// another machine, and the configuration says what a copy does.
fn is_to_join_again(config: &Config, state: &StateDir) -> Result<bool, Failure> {
    let id = Path::new(MACHINE_ID);
    if !machine::is_another(state, id)? {
        machine::note(state, id)?;
        return Ok(false);
    }
    if !config.copies_enrol {
        warn!(
            "this device's key came from another machine (its {MACHINE_ID} was another): if that \
             still runs, the two take each other's place; join with a key of its own \
             (`alambic-agent enrol --again`), or set coordinator.copies_enrol"
        );
    }
    Ok(config.copies_enrol)
}

/// What there is to do without a token: nothing, but for a copy that is not to
/// go on with the key of another machine.
fn without_token(is_copy: bool) -> Result<(), Failure> {
    if !is_copy {
        return Ok(());
    }
    let message = "this device's key came from another machine, and coordinator.copies_enrol says \
                   that a copy joins with a key of its own; but there is no join token";
    let advice = "hand one over as the credential join-token, or run `alambic-agent enrol --again`";
    Err(Failure::new(ExitCode::Usage, message).advise(advice))
}

fn token_path(folder: &Path) -> PathBuf {
    folder.join(CREDENTIAL)
}

/// The token; `None` if there is no file, or no token in it.
fn read(path: &Path) -> Result<Option<JoinToken>, Failure> {
    let Ok(text) = fs::read_to_string(path) else {
        return Ok(None);
    };
    let text = text.trim();
    if text.is_empty() || text == NO_TOKEN {
        return Ok(None);
    }
    let parsed = text
        .parse()
        .map_err(|error: common::trust::token::TokenError| {
            let message = format!("the join token in {}: {error}", path.display());
            Failure::new(ExitCode::Usage, message)
        })?;
    Ok(Some(parsed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::exit::CommandError as _;

    #[test]
    fn an_empty_token_file_is_none_and_a_broken_one_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = token_path(folder.path());
        assert!(read(&path).unwrap().is_none());
        for nothing in ["\n", "none"] {
            fs::write(&path, nothing).unwrap();
            assert!(read(&path).unwrap().is_none());
        }
        fs::write(&path, "alambic1.nonsense").unwrap();
        let failure = read(&path).unwrap_err();
        assert_eq!(failure.exit_code(), ExitCode::Usage);
        assert!(failure.to_string().contains(CREDENTIAL), "{failure}");
    }
}
