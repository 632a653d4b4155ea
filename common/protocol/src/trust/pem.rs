//! PEM text around DER bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Characters of base64 a line, as RFC 7468 asks.
const LINE_CHARS: usize = 64;

/// The PEM block with this label.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE_CHARS));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
