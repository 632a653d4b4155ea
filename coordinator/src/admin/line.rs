//! One JSON value a line, with a bound on its length.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::protocol::{LINE_BYTES_MAX, Response};

/// The next line, or `None` at the end. A line that is too long ends the
/// conversation.
pub(super) async fn next_line(
    reader: &mut BufReader<OwnedReadHalf>,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut limited = reader.take(LINE_BYTES_MAX as u64);
    let read = limited.read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if read == LINE_BYTES_MAX => Err(io::ErrorKind::InvalidData.into()),
        Some(_) => Ok(Some(line)),
    }
}

pub(super) async fn write(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    writer.write_all(&line).await
}
