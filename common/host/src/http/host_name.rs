//! The name that a browser asks by. A page elsewhere whose name was rebound to an
//! address of this machine still sends its own name, and is refused by it.

use std::net::IpAddr;

/// The name in a `Host` header, without its port.
pub fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    }
}

/// Whether the name that was asked for cannot have been rebound to this address by
/// someone else: an address, or `localhost`.
pub fn is_local(host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    let address = |text: &str| {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
    };
    let name = host_name(host);
    address(host) || address(name) || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_can_rebind_are_local() {
        for host in [
            "127.0.0.1:4481",
            "127.0.0.1",
            "[::1]:4481",
            "[::1]",
            "::1",
            "localhost",
            "LocalHost:4481",
        ] {
            assert!(is_local(Some(host)), "{host}");
        }
        for host in ["evil.example", "evil.example:4481", "localhost.evil", ""] {
            assert!(!is_local(Some(host)), "{host}");
        }
        assert!(!is_local(None));
        assert_eq!(host_name("fleet.example:4480"), "fleet.example");
    }
}
