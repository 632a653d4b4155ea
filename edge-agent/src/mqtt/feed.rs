//! Readings of a broker one after the other, and answers back to it.

use std::collections::BTreeMap;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use rumqttc::{AsyncClient, Event, EventLoop, Incoming, QoS};
use tokio::runtime::Runtime;
use tracing::{info, warn};

use super::{Large, Message, MqttSettings, Patience, REQUESTS_MAX, Rows, options};

/// A subscription that is read row by row. What comes faster than it is read
/// waits in the connection and then with the broker.
pub struct Feed {
    runtime: Runtime,
    client: AsyncClient,
    events: EventLoop,
    address: String,
    topics: Vec<String>,
    rows: Rows,
    large: Large,
}

impl Feed {
    /// A subscription of its own: the broker keeps nothing for it, and no agent
    /// beside it is disturbed.
    ///
    /// # Errors
    /// If the file of the password cannot be used, or the system gives no timer.
    pub fn new(settings: &MqttSettings) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build()?;
        let name = format!("alambic-predict-{}", std::process::id());
        let mut options = options(settings, name)?;
        options.set_clean_session(true);
        let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
        Ok(Self {
            runtime,
            client,
            events,
            address: settings.address(),
            topics: settings.topics.clone(),
            rows: Rows::default(),
            large: Large::default(),
        })
    }

    /// The next row, whenever it comes. A broker that is away is tried again and
    /// again.
    pub fn next_row(&mut self) -> BTreeMap<String, String> {
        let Self {
            runtime,
            client,
            events,
            address,
            topics,
            rows,
            large,
        } = self;
        runtime.block_on(async {
            let mut patience = Patience::default();
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                        patience.connected();
                        info!("listening to the MQTT broker");
                        for topic in topics.iter() {
                            if let Err(error) = client.try_subscribe(topic, QoS::AtMostOnce) {
                                warn!("cannot subscribe: {error}");
                            }
                        }
                    }
                    Ok(Event::Incoming(Incoming::Publish(message)))
                        if !large.is_too_large(&message.topic, &message.payload) =>
                    {
                        let now = SystemTime::now().duration_since(UNIX_EPOCH);
                        let now_ms = now.map_or(0, |since| since.as_millis() as u64);
                        let is_kept = message.retain;
                        let message = Message::of(&message.topic, &message.payload);
                        if let Some(row) = message.and_then(|one| rows.take(one, is_kept, now_ms)) {
                            return row;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let what = format!("the MQTT broker {address} cannot be heard: {error}");
                        tokio::time::sleep(patience.failed(&what)).await;
                    }
                }
            }
        })
    }

    /// Hands a message to the broker, with the next row that is waited for. If
    /// more are waiting than may be, it is lost and said so.
    pub fn publish(&self, topic: &str, text: String) {
        if let Err(error) = self.client.try_publish(topic, QoS::AtMostOnce, false, text) {
            warn!("a prediction could not be published: {error}");
        }
    }
}
