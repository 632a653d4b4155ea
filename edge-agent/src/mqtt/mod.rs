//! Readings that come by MQTT: a subscription, and the recordings made of it.

mod feed;
mod message;
mod ring;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::ids::DeviceId;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, Publish, QoS};
use tracing::{info, warn};

pub use feed::Feed;
pub use message::{Message, Rows};
pub use ring::Ring;

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

/// A subscription that writes what it hears into a ring of recordings.
pub struct Subscriber {
    client: AsyncClient,
    events: EventLoop,
    topics: Vec<String>,
    rows: Rows,
    ring: Ring,
    /// Messages that are no readings, in this session.
    strange: u64,
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
            topics: settings.topics.clone(),
            rows: Rows::default(),
            ring: Ring::open(folder, u64::from(settings.mib_max) << 20, label)?,
            strange: 0,
        })
    }

    /// Listens for ever; a broker that is away is tried again and again.
    pub async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                event = self.events.poll() => event,
                _ = flush.tick() => {
                    self.kept(|ring| ring.flush());
                    continue;
                }
            };
            match event {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    wait = FIRST_WAIT;
                    self.strange = 0;
                    info!("listening to the MQTT broker");
                    for topic in self.topics.clone() {
                        if let Err(error) = self.client.try_subscribe(topic, QoS::AtLeastOnce) {
                            warn!("cannot subscribe: {error}");
                        }
                    }
                }
                Ok(Event::Incoming(Incoming::Publish(message))) => {
                    self.hear(&message);
                }
                Ok(_) => {}
                Err(error) => {
                    if wait == FIRST_WAIT {
                        warn!("the MQTT broker cannot be heard ({error}); trying again");
                    }
                    self.kept(|ring| ring.flush());
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LAST_WAIT);
                }
            }
        }
    }

    fn hear(&mut self, heard: &Publish) {
        let topic = &heard.topic;
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

/// A connection of this name, with the password of its file.
fn options(settings: &MqttSettings, name: String) -> std::io::Result<MqttOptions> {
    let mut options = MqttOptions::new(name, settings.host.clone(), settings.port);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
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
/// Longest message.
const PACKET_BYTES_MAX: usize = 64 << 10;
/// Requests that wait for the broker.
const REQUESTS_MAX: usize = 128;
/// How long readings wait for others before they are written.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);
