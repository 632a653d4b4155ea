//! The coordinator's page in a real browser: every room is drawn, and says
//! what it has to. Without Chromium it is skipped, visibly.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tests::rig::agents;

const ROOMS: [&str; 9] = [
    "/",
    "/rounds",
    "/students",
    "/history",
    "/rollouts",
    "/distilled",
    "/certificates",
    "/audit",
    "/health",
];

/// The browser's name, if it is installed.
fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            let version = Command::new(name).arg("--version").output();
            version.is_ok_and(|output| output.status.success())
        })
}

/// Runs the browser on one page, and gives up on it after a minute: a browser
/// that hangs fails the test instead of holding it up.
fn look(browser: &str, home: &Path, arguments: &[&str]) -> String {
    let mut child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            // The page never stops loading: it listens for events.
            "--timeout=3000",
        ])
        .arg(format!("--user-data-dir={}", home.display()))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let (send, said) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let _ = std::io::Read::read_to_string(&mut out, &mut text);
        let _ = send.send(text);
    });
    let said = said.recv_timeout(Duration::from_secs(60));
    let _ = child.kill();
    let _ = child.wait();
    said.expect("the browser has drawn the page within a minute")
}

#[test]
fn every_room_is_drawn_for_a_desk_or_a_phone() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no chromium (apt-get install chromium)");
        return;
    };
    let mut running = agents(2, 30.0, None);
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    let page = running.fleet.page().unwrap().unwrap();
    let home = running.fleet.folder().join("browser");
    for room in ROOMS {
        let url = format!("http://{page}{room}");
        // Wide for a desk and narrow for a phone, one of them each.
        let size = if room == "/" { "420,900" } else { "1280,900" };
        let picture = running.fleet.folder().join("page.png");
        look(
            browser,
            &home,
            &[
                &format!("--window-size={size}"),
                &format!("--screenshot={}", picture.display()),
                &url,
            ],
        );
        let bytes = fs::read(&picture).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{room} at {size}");
        assert!(
            bytes.len() > 8_000,
            "{room} at {size}: {} bytes",
            bytes.len()
        );
        fs::remove_file(&picture).unwrap();
    }

    let url = format!("http://{page}/");
    let drawn = look(browser, &home, &["--dump-dom", &url]);
    assert!(drawn.contains("<main id=\"content\""), "{drawn}");
    assert!(drawn.contains("devices are connected"), "{drawn}");
}
