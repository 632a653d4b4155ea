//! Where a program can be reached, as `host:port`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A name or an IP address, and a port: `one.example:4433`, `10.0.0.1:4433`,
/// `[2001:db8::1]:4433`. Not longer than [`HOST_PORT_BYTES_MAX`], no address
/// that stands for all of a machine's, no link-local zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort(String);

impl HostPort {
    /// Reads one; none if the text is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > HOST_PORT_BYTES_MAX {
            return None;
        }
        let (host, port) = text.rsplit_once(':')?;
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|number| number > 0);
        (is_port && is_host(host)).then(|| Self(text.to_owned()))
    }

    /// As it was read.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_host(host: &str) -> bool {
    let inside = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(inside) = inside {
        let address = inside.parse::<Ipv6Addr>();
        return address.is_ok_and(|address| !address.is_unspecified());
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        // IPv6 needs its brackets.
        return address.is_ipv4() && !address.is_unspecified();
    }
    is_name(host)
}

/// Labels of letters, digits, hyphens and underscores (RFC 1123, section 2.1);
/// the last one is no number, or it would be a mistyped address.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let without_root = name.strip_suffix('.').unwrap_or(name);
    let last = without_root.rsplit('.').next().unwrap_or_default();
    without_root.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The longest name, a colon and the longest port.
pub const HOST_PORT_BYTES_MAX: usize = 253 + 1 + 5;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_addresses_with_a_port_are_read() {
        for text in [
            "one.example:4433",
            "one:1",
            "node_1.local.:65535",
            "10.0.0.1:4433",
            "[2001:db8::1]:4433",
        ] {
            assert_eq!(
                HostPort::parse(text).map(|read| read.to_string()),
                Some(text.to_owned())
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("{}:1", "a.".repeat(129));
        for text in [
            "",
            ":1",
            "one",
            "one:",
            "one:0",
            "one:65536",
            "one:+1",
            "one:1 ",
            "two,one:1",
            "a b:1",
            "a..b:1",
            "-\n:1",
            "10.0.0:1",
            "0.0.0.0:1",
            "[::]:1",
            "::1:1",
            "[fe80::1%eth0]:1",
            "user@one:1",
            "http://one:1",
            &long,
        ] {
            assert_eq!(HostPort::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_bounded_and_plain(text in ".{0,300}") {
            if let Some(read) = HostPort::parse(&text) {
                prop_assert!(read.as_str().len() <= HOST_PORT_BYTES_MAX);
                prop_assert!(read.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
