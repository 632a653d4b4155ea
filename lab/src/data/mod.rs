//! Data sets with a test part, and how they are spread over devices.

mod arrays;
mod dataset;
mod devices;
mod partition;
mod sounds;

pub use dataset::{Asked, Dataset, DatasetError, Part};
pub use partition::{Partition, PartitionError, partition};
