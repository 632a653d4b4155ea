//! A device's renewal, passed on. Joining is not: it takes the secret of a
//! token, which a gateway is not to hear.

use std::sync::Arc;

use common::limits::FRAME_BYTES_MAX;
use common::transport::enrolment;
use common::transport::{CloseCode, Connection, TransportError, splice};
use common::wire::codec::{decode, encode};
use common::wire::gateway::Purpose;
use common::wire::messages::{EnrolAnswer, EnrolRefusal, EnrolRequest};

use super::Shared;

/// Serves one connection on the enrolment protocol.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) {
    enrolment::serve(&connection, run(&shared, &connection)).await;
}

async fn run(shared: &Shared, connection: &Connection) -> Result<(), TransportError> {
    let mut stream = match connection.accept_control().await {
        // It only looked whether anybody answers.
        Err(TransportError::Closed {
            code: CloseCode::Normal,
            ..
        }) => return Ok(()),
        stream => stream?,
    };
    let Some(frame) = stream.receiver.recv_answer().await? else {
        return Ok(());
    };
    match decode::<EnrolRequest>(&frame) {
        Ok(EnrolRequest::Renew { .. }) => {}
        Ok(EnrolRequest::Join { .. }) => {
            let answer = EnrolAnswer::Refused(EnrolRefusal::BadRequest);
            stream.send(&encode(&answer)).await?;
            stream.sender.finish();
            return stream.sender.delivered().await;
        }
        Err(_) => {
            connection.close(CloseCode::Violation, "the request does not decode");
            return Ok(());
        }
    }
    let certificate = connection.peer_chain().first().map(|der| der.to_vec());
    let Some((uplink, certificate)) = shared.uplinks.now().zip(certificate) else {
        let reason = "the coordinator is not reached from here";
        connection.close(CloseCode::Overloaded, reason);
        return Ok(());
    };
    let mut onward = uplink.open(&Purpose::Renew { certificate }).await?;
    onward.send(&frame).await?;
    splice(stream, onward, FRAME_BYTES_MAX as u64).await?;
    shared.figures.renewal();
    // The device closes the connection; it heard the last word.
    connection.closed().await;
    Ok(())
}
