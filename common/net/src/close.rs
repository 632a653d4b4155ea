//! Close codes as QUIC carries them.

use protocol::close::CloseCode;
use quinn::VarInt;

/// The reason behind a number that a peer closed with.
pub(crate) fn of_wire(number: VarInt) -> CloseCode {
    CloseCode::of_number(u32::try_from(number.into_inner()).unwrap_or(u32::MAX))
}

/// The number to close with.
pub(crate) fn wire(code: CloseCode) -> VarInt {
    code.number().into()
}
