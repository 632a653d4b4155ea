#![allow(missing_docs, clippy::unwrap_used)]
use edge_agent::work::Privacy;
use lab::{baseline, data::*, metrics::*, plan::*, simulation::*};
fn main() {
    common::math::blas::pin_to_one_thread();
    let a: Vec<String> = std::env::args().collect();
    let data = Dataset::open(&a[1]).unwrap();
    let how: Partition = a[2].parse().unwrap();
    let agents: usize = a[3].parse().unwrap();
    let points: u32 = a[4].parse().unwrap();
    let rank: u32 = a[5].parse().unwrap();
    let hidden: u32 = a[6].parse().unwrap();
    let contribute = a[7].clone();
    for seed in 0..a[8].parse().unwrap() {
        let t0 = std::time::Instant::now();
        let parts = partition(&data.train, data.classes.len(), how, agents, seed).unwrap();
        let w = Wishes {
            features: None,
            hidden: vec![hidden],
            points,
            agents: parts.len(),
            rounds: 1,
            contribute: contribute.clone(),
            uplink_bytes_max: 500_000,
            rank_max: rank,
            steps: 3000,
            seed,
            deadline_s: 600,
            grace_s: 1.0,
        };
        let t = task(&data, &w).unwrap();
        let mut sim = Simulation::new(
            t.clone(),
            parts.iter().map(|r| data.train.select(r)),
            Privacy {
                rows_min: 20,
                cluster_size_min: 5,
            },
            seed,
        )
        .unwrap();
        sim.connect().unwrap();
        let r = sim.round().unwrap();
        let said = r.release.predict(data.test.inputs.view()).unwrap();
        let raw: common::teacher::RawTeacher =
            common::wire::codec::decode_blob(&sim.blob(r.teacher[0]).unwrap()).unwrap();
        let set = coordinator::intake::transfer_set(&t, &sim.blob(r.teacher[1]).unwrap()).unwrap();
        let norm = coordinator::intake::normaliser(&t, &sim.blob(r.teacher[2]).unwrap()).unwrap();
        let teacher =
            common::teacher::Teacher::check(raw, set.points.inputs.clone(), t.classes()).unwrap();
        let f = norm
            .apply(
                t.definition()
                    .features
                    .compute(t.input_shape(), data.test.inputs.view())
                    .unwrap()
                    .view(),
            )
            .unwrap();
        let p = teacher.probabilities(f.view()).unwrap();
        let ts: Vec<u16> = p
            .rows()
            .into_iter()
            .map(|r| (0..r.len()).fold(0, |b, c| if r[c] > r[b] { c } else { b }) as u16)
            .collect();
        let up: Vec<u64> = r.bytes.iter().map(|b| b.up).collect();
        let time = t0.elapsed();
        let base = baseline::train(&t, &data.train, data.test.inputs.view(), 3000, seed).unwrap();
        println!(
            "seed {seed} d {} points {} student {:.4} teacher {:.4} agree {:.4} f1 {:.4} pooled {:.4} up max {} mean {} facts {:?} T {} {:?}",
            t.features(),
            set.points.len(),
            accuracy(&said, &data.test.labels),
            accuracy(&ts, &data.test.labels),
            accuracy(&said, &ts),
            macro_f1(&said, &data.test.labels, t.classes()),
            accuracy(&base, &data.test.labels),
            up.iter().max().unwrap(),
            up.iter().sum::<u64>() / up.len() as u64,
            teacher.facts(),
            teacher.temperature(),
            time
        );
    }
}
