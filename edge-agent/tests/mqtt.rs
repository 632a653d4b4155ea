//! Readings from a real broker become rows. Skipped, and said so, where
//! Debian's mosquitto is not installed.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::features::InputShape;
use common::ids::DeviceId;
use edge_agent::data::{Folder, Schema};
use edge_agent::mqtt::{MqttSettings, Subscriber};
use rumqttc::{AsyncClient, MqttOptions, QoS};

/// Ends with the test.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn broker(port: u16, folder: &std::path::Path) -> Option<Broker> {
    let file = folder.join("mosquitto.conf");
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n");
    std::fs::write(&file, text).unwrap();
    let programs = ["mosquitto", "/usr/sbin/mosquitto"].into_iter();
    let mut started = programs.filter_map(|program| {
        let mut command = Command::new(program);
        command.arg("-c").arg(&file);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok()
    });
    started.next().map(Broker)
}

#[tokio::test(flavor = "current_thread")]
async fn messages_of_a_broker_become_rows_to_learn_from() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let Some(_broker) = broker(port, folder.path()) else {
        eprintln!("SKIPPED messages_of_a_broker_become_rows_to_learn_from: no mosquitto");
        return;
    };
    let settings = MqttSettings {
        host: "127.0.0.1".to_owned(),
        port,
        topics: vec!["site/#".to_owned()],
        user: None,
        mib_max: 1,
    };
    let recordings = folder.path().join("recordings");
    let device = DeviceId([7; 16]);
    let subscriber = Subscriber::new(&settings, device, &recordings, "label").unwrap();
    tokio::spawn(subscriber.run());
    let (client, mut events) =
        AsyncClient::new(MqttOptions::new("sensor", "127.0.0.1", port), 1_000);
    tokio::spawn(async move {
        // It is tried again until the broker is up.
        loop {
            if events.poll().await.is_err() {
                tokio::time::interval(Duration::from_millis(100))
                    .tick()
                    .await;
            }
            tokio::task::yield_now().await;
        }
    });
    let classes = vec!["ok".to_owned(), "blocked".to_owned()];
    let schema = Schema::new(InputShape::new(vec![2]).unwrap(), classes).unwrap();
    let schema = schema.with_mapping(edge_agent::data::Mapping {
        columns: Vec::new(),
        ..Default::default()
    });
    // As a task names its columns.
    let task = common::task::RawTask::parse(
        "name = \"t\"\n[classes]\nnames = [\"ok\", \"blocked\"]\n[input]\nkind = \"table\"\n\
         columns = [{ name = \"flow\" }, { name = \"bar\" }]\nmissing = \"skip-row\"",
    )
    .unwrap();
    let schema = schema.with_input(task.input().clone());
    let said = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        for at in 0.. {
            ticks.tick().await;
            let label = ["ok", "blocked"][at % 2];
            let text = format!("{{\"flow\": {at}, \"bar\": 1.5, \"label\": {label:?}}}");
            let publish = |topic: &str, text: String| {
                client.try_publish(topic, QoS::AtLeastOnce, false, text)
            };
            let _ = publish("site/pump", text);
            let _ = publish("site/other/flow", format!("{at}.25"));
            let _ = publish("site/other/bar", "2.5".to_owned());
            let _ = publish("site/words", "hello".to_owned());
            if at % 20 == 19
                && let Ok(scan) = Folder::new(&recordings, schema.clone()).scan()
                && scan.files.iter().map(|file| file.rows).sum::<usize>() >= 40
            {
                assert!(scan.quarantined.is_empty(), "{:?}", scan.quarantined);
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), said)
        .await
        .unwrap();
    let mut read = Folder::new(&recordings, schema);
    read.scan().unwrap();
    let rule = edge_agent::data::SplitRule {
        one_in: 0,
        ..Default::default()
    };
    let rows = read.into_split(rule).training;
    let labelled = rows.labels().iter().flatten().count();
    assert!(
        labelled >= 10 && labelled < rows.rows(),
        "{labelled} of {}",
        rows.rows()
    );
    let alone = rows.inputs().rows().into_iter().any(|row| row[1] == 2.5);
    assert!(alone, "numbers alone make rows, too");
}
