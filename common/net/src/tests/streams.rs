//! Frames and blobs between two admitted ends, whole, torn and slow.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;

use super::*;
use protocol::limits::{BLOB_BYTES_MAX, CHUNK_BYTES, FRAME_BYTES_MAX};
use protocol::wire::frame::{self, FrameError};

/// Both ends of one stream, with everything it hangs from.
struct Ends {
    device: Stream,
    server: Stream,
    _held: (Fleet, Connection, Connection),
}

async fn ends(no_progress_ms: u64) -> Ends {
    let fleet = Fleet::with(|settings| settings.tuning.no_progress_ms = no_progress_ms);
    let (far, near) = fleet.connected().await;
    let mut device = near.open_transfer().await.unwrap();
    device.send(b"hello").await.unwrap();
    let mut server = far.accept_transfer().await.unwrap();
    assert_eq!(server.recv().await.unwrap().unwrap(), b"hello");
    Ends {
        device,
        server,
        _held: (fleet, far, near),
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn frames_of_every_size_arrive_in_order_until_the_end() {
    let mut ends = ends(30_000).await;
    let sizes = [0, 1, 1_199, CHUNK_BYTES, CHUNK_BYTES + 1, FRAME_BYTES_MAX];
    tokio::join!(
        async {
            for size in sizes {
                ends.device.send(&bytes(size)).await.unwrap();
            }
            ends.device.sender.finish();
        },
        async {
            for size in sizes {
                assert_eq!(ends.server.recv().await.unwrap().unwrap(), bytes(size));
            }
            assert_eq!(ends.server.recv().await.unwrap(), None);
        }
    );
    ends.device.sender.delivered().await.unwrap();
}

#[tokio::test]
async fn an_oversized_frame_closes_the_stream_with_a_reason() {
    let mut ends = ends(30_000).await;
    let mut header = [0u8; frame::HEADER_BYTES];
    header[..4].copy_from_slice(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
    ends.device.sender.send_blob(0, &header).await.unwrap();
    let error = ends.server.recv().await.unwrap_err();
    assert!(matches!(
        error,
        TransportError::Frame(FrameError::TooLong { length, .. }) if length == FRAME_BYTES_MAX + 1
    ));
    assert_eq!(error.blame(), Blame::Peer);
    let told = ends.device.sender.delivered().await.unwrap_err();
    let code = CloseCode::Violation;
    assert!(matches!(told, TransportError::StreamGivenUp { code: c } if c == code));
}

#[tokio::test]
async fn a_frame_too_long_to_send_is_not_begun() {
    let mut ends = ends(30_000).await;
    let error = ends
        .device
        .send(&bytes(FRAME_BYTES_MAX + 1))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        TransportError::Frame(FrameError::TooLong { .. })
    ));
    ends.device.send(b"still whole").await.unwrap();
    assert_eq!(ends.server.recv().await.unwrap().unwrap(), b"still whole");
}

#[tokio::test]
async fn a_truncated_frame_is_told_from_the_end() {
    let mut ends = ends(30_000).await;
    let whole = frame::encode(b"twelve bytes").unwrap();
    ends.device.sender.send_blob(0, &whole[..15]).await.unwrap();
    ends.device.sender.finish();
    let error = ends.server.recv().await.unwrap_err();
    let cut = FrameError::Truncated {
        expected: 12,
        got: 7,
    };
    assert!(matches!(error, TransportError::Frame(e) if e == cut));
}

#[tokio::test]
async fn a_dripping_frame_times_out() {
    let mut ends = ends(60).await;
    let mut header = [0u8; frame::HEADER_BYTES];
    header[..4].copy_from_slice(&(FRAME_BYTES_MAX as u32).to_le_bytes());
    ends.device.sender.send_blob(0, &header).await.unwrap();
    let mut drips = tokio::time::interval(std::time::Duration::from_millis(10));
    let drip = async {
        loop {
            drips.tick().await;
            if ends.device.sender.send_blob(0, &[0]).await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    let error = tokio::select! {
        () = drip => unreachable!("it drips on"),
        received = ends.server.recv() => received.unwrap_err(),
    };
    assert!(matches!(error, TransportError::Stalled { waited_ms: 60 }));
}

#[tokio::test]
async fn a_changed_frame_is_refused() {
    let mut ends = ends(30_000).await;
    let mut changed = frame::encode(b"payload").unwrap();
    changed[frame::HEADER_BYTES + 2] ^= 4;
    ends.device.sender.send_blob(0, &changed).await.unwrap();
    let error = ends.server.recv().await.unwrap_err();
    assert!(matches!(
        error,
        TransportError::Frame(FrameError::Checksum { .. })
    ));
}

#[tokio::test]
async fn receiving_can_be_interrupted_anywhere_without_loss() {
    let mut ends = ends(30_000).await;
    let frames: Vec<u8> = (0..20u8)
        .flat_map(|i| frame::encode(&[i; 50]).unwrap())
        .collect();
    let (mut interrupted, mut received) = (0, Vec::new());
    tokio::join!(
        async {
            for piece in frames.chunks(7) {
                ends.device.sender.send_blob(0, piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            ends.device.sender.finish();
        },
        async {
            loop {
                match timeout(Duration::from_micros(1), ends.server.recv()).await {
                    Err(_) => interrupted += 1,
                    Ok(frame) => match frame.unwrap() {
                        Some(payload) => received.push(payload),
                        None => break,
                    },
                }
            }
        }
    );
    let sent: Vec<_> = (0..20u8).map(|i| vec![i; 50]).collect();
    assert_eq!(received, sent);
    assert!(interrupted > 0);
}

#[tokio::test]
async fn half_frames_time_out() {
    let mut ends = ends(60).await;
    let quiet = timeout(Duration::from_millis(150), ends.server.recv()).await;
    assert!(quiet.is_err(), "a quiet control stream is no fault");
    let whole = frame::encode(&bytes(100)).unwrap();
    ends.device.sender.send_blob(0, &whole[..50]).await.unwrap();
    let error = ends.server.recv().await.unwrap_err();
    assert!(matches!(error, TransportError::Stalled { waited_ms: 60 }));
    let told = ends.device.sender.delivered().await.unwrap_err();
    let code = CloseCode::Stalled;
    assert!(matches!(told, TransportError::StreamGivenUp { code: c } if c == code));
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let mut ends = ends(60).await;
    let error = ends.device.ask(b"question").await.unwrap_err();
    assert!(matches!(error, TransportError::Stalled { waited_ms: 60 }));
    assert_eq!(ends.server.recv().await.unwrap().unwrap(), b"question");
}

#[tokio::test]
async fn a_blob_resumes_where_it_stopped_and_frames_follow_it() {
    let mut ends = ends(30_000).await;
    let blob = bytes(5 * CHUNK_BYTES + 77);
    let length = blob.len() as u64;
    let stop = 2 * CHUNK_BYTES + 5;
    let mut kept = Vec::new();
    ends.server
        .sender
        .send_blob(0, &blob[..stop])
        .await
        .unwrap();
    ends.server.sender.finish();
    let whole = BlobSpan::new(0, length).unwrap();
    let broken = ends.device.receiver.recv_blob(whole, |chunk| {
        assert!(chunk.len() <= CHUNK_BYTES);
        kept.extend_from_slice(chunk);
        Ok(())
    });
    let error = broken.await.unwrap_err();
    let (got, expected) = (stop as u64, length);
    assert!(
        matches!(error, TransportError::BlobTruncated { got: g, length: l } if g == got && l == expected)
    );
    assert_eq!(kept, &blob[..stop]);

    let (_, far, near) = &ends._held;
    let mut device = near.open_transfer().await.unwrap();
    device.send(b"again").await.unwrap();
    let mut server = far.accept_transfer().await.unwrap();
    server.recv().await.unwrap();
    let rest = BlobSpan::new(kept.len() as u64, length).unwrap();
    tokio::join!(
        async {
            let shared = Arc::new(blob.clone());
            let beyond = server.sender.send_shared(length + 1, shared.clone()).await;
            assert!(matches!(
                beyond,
                Err(TransportError::OffsetBehindEnd { .. })
            ));
            let sent = server.sender.send_shared(rest.offset(), shared).await;
            sent.unwrap();
            server.send(b"done").await.unwrap();
        },
        async {
            let keep = |chunk: &[u8]| {
                kept.extend_from_slice(chunk);
                Ok(())
            };
            device.receiver.recv_blob(rest, keep).await.unwrap();
            assert_eq!(device.recv().await.unwrap().unwrap(), b"done");
        }
    );
    assert_eq!(kept, blob);
}

#[tokio::test]
async fn a_stalled_sender_is_given_up_and_what_came_is_kept() {
    let mut ends = ends(60).await;
    let sent = CHUNK_BYTES + 100;
    ends.device.sender.send_blob(0, &bytes(sent)).await.unwrap();
    let mut kept = Vec::new();
    let span = BlobSpan::new(0, 1_000_000).unwrap();
    let keep = |chunk: &[u8]| {
        kept.extend_from_slice(chunk);
        Ok(())
    };
    let error = ends
        .server
        .receiver
        .recv_blob(span, keep)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Stalled { waited_ms: 60 }));
    assert_eq!(error.blame(), Blame::World);
    assert_eq!(kept, bytes(sent));
    let told = ends.device.sender.delivered().await.unwrap_err();
    let code = CloseCode::Stalled;
    assert!(matches!(told, TransportError::StreamGivenUp { code: c } if c == code));
}

#[tokio::test]
async fn a_receiver_that_does_not_read_is_given_up() {
    let mut ends = ends(60).await;
    let error = ends
        .device
        .sender
        .send_blob(0, &bytes(1 << 20))
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Stalled { waited_ms: 60 }));
}

#[tokio::test]
async fn what_cannot_be_kept_stops_the_transfer() {
    let mut ends = ends(30_000).await;
    ends.device.sender.send_blob(0, &bytes(100)).await.unwrap();
    let full = |_: &[u8]| Err(io::Error::other("disk full"));
    let span = BlobSpan::new(0, 100).unwrap();
    let error = ends
        .server
        .receiver
        .recv_blob(span, full)
        .await
        .unwrap_err();
    assert!(matches!(&error, TransportError::Keep(e) if e.to_string() == "disk full"));
    assert_eq!(error.code(), CloseCode::Internal);
}

#[tokio::test]
async fn the_peer_learns_why_a_stream_was_given_up() {
    let mut ends = ends(30_000).await;
    ends.server.give_up(CloseCode::Shutdown);
    let error = ends.device.recv().await.unwrap_err();
    let code = CloseCode::Shutdown;
    assert!(matches!(error, TransportError::StreamGivenUp { code: c } if c == code));
}

#[tokio::test]
async fn a_silent_device_does_not_hold_the_coordinator() {
    let fleet = Fleet::with(|settings| settings.tuning.no_progress_ms = 60);
    let (server, _device) = fleet.connected().await;
    let error = server.accept_control().await.unwrap_err();
    assert!(matches!(error, TransportError::Stalled { waited_ms: 60 }));
}

proptest! {
    #[test]
    fn spans_stay_within_blob_and_limit(offset: u64, length: u64) {
        match BlobSpan::new(offset, length) {
            Ok(span) => prop_assert!(span.offset() <= span.length() && span.length() <= BLOB_BYTES_MAX),
            Err(TransportError::BlobTooLong { .. }) => prop_assert!(length > BLOB_BYTES_MAX),
            Err(TransportError::OffsetBehindEnd { .. }) => prop_assert!(offset > length),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
