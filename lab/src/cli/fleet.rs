//! The arguments that say what fleet is simulated, for `simulate` and `attack`.

use clap::Args;

use coordinator::budget::Kinds;
use lab::data::Partition;
use lab::simulate::SimulateOptions;

use super::protection::ProtectionArguments;

/// Devices, rounds, bytes and the devices' policies.
#[derive(Debug, Args)]
pub(super) struct FleetArguments {
    /// natural, iid, group (rows of one group_train on one device), dirichlet:ALPHA
    /// or shards:CLASSES, where tenths of the rows in order stand for the classes of
    /// numbers [default: natural where the data says whose rows they are, group where
    /// it says which belong together, else dirichlet:0.1]
    #[arg(long)]
    partition: Option<Partition>,
    /// Devices; ignored for natural
    #[arg(long, default_value_t = 10, value_parser = super::at_least_one)]
    agents: usize,
    /// Rounds; the points are spread over them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Points of the shared transfer set in all [default: planned from the
    /// bytes]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    points: Option<u32>,
    /// Bits per value of points and moments [default: planned from the bytes]
    #[arg(long, value_parser = clap::value_parser!(u8).range(4..=16))]
    bits: Option<u8>,
    /// labels, moments, both, or points (nothing but the distilled points);
    /// with both, what is worth its bytes: moments, or points alone
    #[arg(long, default_value = "both", value_parser = ["labels", "moments", "both", "points"])]
    contribute: String,
    /// Bytes a device may send in all, everything counted; what is not fixed
    /// is planned to fit
    #[arg(long, default_value_t = 100_000)]
    uplink_bytes_max: u64,
    /// Virtual rows of a device's moments [default: planned from the bytes]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rank: Option<u32>,
    /// Synthetic inputs, besides the points, at which moments evaluate the kernel; at most three
    /// per point [default: planned from the bytes]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=2_000))]
    landmarks: Option<u32>,
    /// Most rounds after each round that move the student's last layer towards the labels
    /// of the devices' own rows, by gradients that they send; the first that makes it no
    /// better on rows they held out is taken back, and is the last [default: as many of 4
    /// as the bytes leave]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=8))]
    refinement_steps: Option<u32>,
    /// Optimiser steps of the student
    #[arg(long, default_value_t = 6_000)]
    steps: u32,
    /// Fewest rows, of a class or in all, that a device describes [default: 20, as an agent's
    /// policy; 5 where that keeps back more than a tenth of the rows]
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    rows_min: Option<u64>,
    /// Rows per direction of the moments that a device sends, as in an agent's policy [default: 15]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    rows_per_direction: Option<u32>,
    /// Fewest rows behind a distilled sample, as in an agent's policy;
    /// samples stand for twice as many in
    /// the mean [default: 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    cluster_size_min: Option<u32>,
    #[command(flatten)]
    protection: ProtectionArguments,
}

impl FleetArguments {
    /// What they ask of one seed's run; all else is as usual.
    pub(super) fn options(&self) -> SimulateOptions {
        SimulateOptions {
            partition: self.partition,
            agents: self.agents,
            rounds: self.rounds,
            points: self.points,
            bits: self.bits,
            contribute: Kinds::named(&self.contribute).unwrap_or_default(),
            uplink_bytes_max: self.uplink_bytes_max,
            rank_max: self.rank,
            landmarks: self.landmarks,
            refinement_steps: self.refinement_steps,
            steps: self.steps,
            rows_min: self.rows_min,
            rows_per_direction: self.rows_per_direction,
            cluster_size_min: self.cluster_size_min,
            protection: self.protection.asked(),
            ..SimulateOptions::default()
        }
    }
}
