//! SIGINT and SIGTERM, for programs that end in order.

use std::thread;

/// From now on `act` is called at every Ctrl-C and SIGTERM, in a thread of its
/// own, and they do not end the program by themselves.
pub fn on_interrupt(act: impl Fn() + Send + 'static) {
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            ) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => act(),
                    _ = terminate.recv() => act(),
                }
            }
        });
    });
}
