//! A profile that no data has, yet within the bounds of the wire.

use common::blocks::RawBlocks;
use common::profile::RawProfile;
use common::round::Kind as Contribution;
use common::wire::codec::{decode_blob, encode};
use edge_agent::work::Built;

use super::super::{Attack, Kind, Plot};
use crate::simulation::{Heard, Lie};

pub(in super::super) const PROFILE: Attack = Attack {
    name: "profile",
    about: "liars send profiles whose means are 1e18",
    kind: Kind::Lying(|scene| match scene.data.range {
        None => Ok(Plot {
            lie: Box::new(WildProfile),
            aim: None,
        }),
        Some(_) => Err(scene.option(
            "--data",
            "holds bytes, whose profiles have no means to lie about; take data of floats, like har"
                .into(),
        )),
    }),
};

struct WildProfile;

impl Lie for WildProfile {
    fn sends(&self, heard: &Heard<'_>, mut answer: Built) -> Built {
        for entry in &mut answer.entries {
            if entry.kind != Contribution::Profile {
                continue;
            }
            if heard.task.learns_quantiles() {
                let decoded = decode_blob::<(RawProfile, RawBlocks)>(&entry.bytes);
                if let Ok((mut raw, mut blocks)) = decoded {
                    spoil(&mut raw);
                    blocks.middle.fill(MEAN);
                    entry.bytes = encode(&(raw, blocks));
                }
            } else if let Ok(mut raw) = decode_blob::<RawProfile>(&entry.bytes) {
                spoil(&mut raw);
                entry.bytes = encode(&raw);
            }
        }
        answer
    }
}

fn spoil(raw: &mut RawProfile) {
    if let Some(moments) = &mut raw.moments {
        moments.mean.fill(MEAN);
    }
}

const MEAN: f32 = 1e18;
