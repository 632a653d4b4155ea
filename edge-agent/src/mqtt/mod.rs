//! Readings that come by MQTT: a subscription, and the recordings made of it.

mod feed;
mod message;
mod ring;
mod topic;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::ids::DeviceId;
use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions, Publish, QoS, SubscribeReasonCode,
};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

pub use feed::Feed;
pub use message::{Message, Rows};
pub use ring::Ring;
pub use topic::filter_rule;

/// Where readings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttSettings {
    /// The broker's host.
    pub host: String,
    /// Its port. The connection is not encrypted: the broker is on this device
    /// or in a network that is trusted.
    pub port: u16,
    /// What is subscribed to, with `+` and `#`.
    pub topics: Vec<String>,
    /// A name and the file that holds its password, if the broker asks.
    pub user: Option<(String, PathBuf)>,
    /// Most MiB of recordings that are kept.
    pub mib_max: u32,
}

impl MqttSettings {
    /// Where the broker is.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// A subscription that writes what it hears into a ring of recordings.
pub struct Subscriber {
    client: AsyncClient,
    events: EventLoop,
    address: String,
    topics: Vec<String>,
    recorder: Recorder,
    /// Why nothing is heard, if that is so.
    problem: watch::Sender<Option<String>>,
}

/// Where what is heard goes.
struct Recorder {
    rows: Rows,
    ring: Ring,
    /// Messages that are no readings, in this session.
    strange: u64,
    large: Large,
}

impl Subscriber {
    /// For a device; recordings lie in `folder`, which is made if it is
    /// missing, and have the column `label` in any case.
    ///
    /// # Errors
    /// If the folder or the file of the password cannot be used; it says which.
    pub fn new(
        settings: &MqttSettings,
        device: DeviceId,
        folder: &Path,
        label: &str,
    ) -> Result<Self, std::io::Error> {
        let mut options = options(settings, format!("alambic-{}", device.short()))?;
        // The broker keeps what comes while this device is away.
        options.set_clean_session(false);
        let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
        Ok(Self {
            client,
            events,
            address: settings.address(),
            topics: settings.topics.clone(),
            recorder: Recorder {
                rows: Rows::default(),
                ring: Ring::open(folder, u64::from(settings.mib_max) << 20, label)?,
                strange: 0,
                large: Large::default(),
            },
            problem: watch::Sender::new(None),
        })
    }

    /// Tells why nothing is heard of the broker, whenever that changes.
    pub fn problem(&self) -> watch::Receiver<Option<String>> {
        self.problem.subscribe()
    }

    /// Listens for ever; a broker that is away is tried again and again.
    pub async fn run(self) {
        let Self {
            client,
            mut events,
            address,
            topics,
            mut recorder,
            problem,
        } = self;
        let mut patience = Patience::default();
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let event = {
                // A connection that is being made must not be given up for a flush.
                let poll = events.poll();
                tokio::pin!(poll);
                loop {
                    tokio::select! {
                        event = &mut poll => break event,
                        _ = flush.tick() => recorder.kept(Ring::flush),
                    }
                }
            };
            match event {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    patience.connected();
                    recorder.strange = 0;
                    problem.send_replace(None);
                    info!("listening to the MQTT broker");
                    for topic in &topics {
                        if let Err(error) = client.try_subscribe(topic, QoS::AtLeastOnce) {
                            warn!("cannot subscribe: {error}");
                        }
                    }
                }
                Ok(Event::Incoming(Incoming::SubAck(answer)))
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) =>
                {
                    let what = format!(
                        "the MQTT broker {address} refuses a subscription to one of {}",
                        topics.join(", ")
                    );
                    warn!("{what}");
                    problem.send_replace(Some(what));
                }
                Ok(Event::Incoming(Incoming::Publish(message))) => recorder.hear(&message),
                Ok(_) => {}
                Err(error) => {
                    let what = format!("the MQTT broker {address} cannot be heard: {error}");
                    recorder.kept(Ring::flush);
                    let wait = patience.failed(&what);
                    problem.send_replace(Some(what));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

impl Recorder {
    fn hear(&mut self, heard: &Publish) {
        let topic = &heard.topic;
        if self.large.is_too_large(topic, &heard.payload) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = now.map_or(0, |since| since.as_millis() as u64);
        match Message::of(topic, &heard.payload) {
            Some(message) => {
                if let Some(row) = self.rows.take(message, heard.retain, now_ms) {
                    self.kept(|ring| ring.write(&row));
                }
            }
            None => {
                self.strange += 1;
                if self.strange == 1 {
                    warn!(
                        "a message on {topic} is no number and no JSON object of readings; such \
                         messages are passed over"
                    );
                }
            }
        }
    }

    /// What cannot be written is lost, and said once in a while.
    fn kept(&mut self, write: impl FnOnce(&mut Ring) -> std::io::Result<()>) {
        if let Err(error) = write(&mut self.ring) {
            warn!("readings cannot be kept: {error}");
        }
    }
}

/// How long a broker that fails is waited for. Only a connection that has lasted
/// makes the waits short again: one that a message ends each time does not.
#[derive(Debug)]
struct Patience {
    wait: Duration,
    since: Option<Instant>,
    said: String,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            wait: FIRST_WAIT,
            since: None,
            said: String::new(),
        }
    }
}

impl Patience {
    fn connected(&mut self) {
        self.since = Some(Instant::now());
    }

    /// How long to wait now. What is wrong is said once in a row.
    fn failed(&mut self, what: &str) -> Duration {
        if self
            .since
            .take()
            .is_some_and(|since| since.elapsed() >= LAST_WAIT)
        {
            self.wait = FIRST_WAIT;
            self.said.clear();
        }
        if self.said != what {
            warn!("{what}; trying again");
            what.clone_into(&mut self.said);
        }
        let wait = self.wait;
        self.wait = (wait * 2).min(LAST_WAIT);
        wait
    }
}

/// Topics of messages that are too large to be readings.
#[derive(Debug, Default)]
struct Large(BTreeSet<String>);

impl Large {
    /// Whether a message is passed over; of each topic it is said once.
    fn is_too_large(&mut self, topic: &str, payload: &[u8]) -> bool {
        let is_large = payload.len() > MESSAGE_BYTES_MAX;
        if is_large && self.0.len() < LARGE_TOPICS_MAX && self.0.insert(topic.to_owned()) {
            warn!(
                "a message on {topic} has {} bytes; such messages of more than \
                 {MESSAGE_BYTES_MAX} bytes are no readings and passed over",
                payload.len()
            );
        }
        is_large
    }
}

/// Connects to the broker as [`Subscriber`] does, and leaves.
///
/// # Errors
/// Why it cannot be reached, or what it refuses.
pub async fn probe(settings: &MqttSettings) -> Result<(), String> {
    let name = format!("alambic-doctor-{}", std::process::id());
    let mut options = options(settings, name).map_err(|error| error.to_string())?;
    options.set_clean_session(true);
    let (client, mut events) = AsyncClient::new(options, REQUESTS_MAX);
    let connected = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    let connected = timeout(PROBE_WAIT, connected).await;
    connected.unwrap_or_else(|_| Err(format!("no answer within {} s", PROBE_WAIT.as_secs())))?;
    // A broker that is not told goodbye would note a client that broke down.
    if client.try_disconnect().is_ok() {
        let _ = timeout(FIRST_WAIT, events.poll()).await;
    }
    Ok(())
}

/// A connection of this name, with the password of its file.
fn options(settings: &MqttSettings, name: String) -> std::io::Result<MqttOptions> {
    let mut options = MqttOptions::new(name, settings.host.clone(), settings.port);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_max_packet_size(PACKET_BYTES_MAX, MESSAGE_BYTES_MAX);
    if let Some((user, path)) = &settings.user {
        let password = std::fs::read_to_string(path).map_err(|error| {
            let what = format!("mqtt.password_file {}: {error}", path.display());
            std::io::Error::new(error.kind(), what)
        })?;
        options.set_credentials(user.clone(), password.trim_end_matches(['\r', '\n']));
    }
    Ok(options)
}

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Longest message that may be readings, and that is sent.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Longest one that is received, to be passed over; a longer one ends the connection.
const PACKET_BYTES_MAX: usize = 16 << 20;
/// Topics of which it is said that their messages are too large.
const LARGE_TOPICS_MAX: usize = 64;
/// How long a broker has to answer a question whether it is there.
const PROBE_WAIT: Duration = Duration::from_secs(4);
/// Requests that wait for the broker.
const REQUESTS_MAX: usize = 128;
/// How long readings wait for others before they are written.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
