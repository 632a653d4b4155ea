//! Readers of the page, the ordinary one and others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The status and the body that a path is answered with.
pub async fn get(page: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(page).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {page}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

/// All that `/metrics` tells, by name and labels.
pub async fn metrics(page: SocketAddr) -> BTreeMap<String, f64> {
    let (status, body) = get(page, "/metrics").await;
    assert_eq!(status, 200, "{body}");
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    pairs.collect()
}

/// This many connections on which a request begins and never ends.
pub async fn slow_readers(page: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(page).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        held.push(stream);
    }
    held
}

/// Asks for this until it is told that this is too often, and says how often
/// it was answered before.
pub async fn flood(page: SocketAddr, path: &str) -> usize {
    for answered in 0..5_000 {
        match get(page, path).await.0 {
            200 => {}
            429 => return answered,
            other => panic!("status {other}"),
        }
    }
    panic!("it is never too often");
}
