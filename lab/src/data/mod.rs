//! Data sets with a test part, and how they are spread over devices.

mod arrays;
mod dataset;
mod devices;
mod labelling;
mod partition;
mod sounds;

pub(crate) use dataset::sane;
pub use dataset::{Asked, Dataset, DatasetError, Part};
pub use labelling::Labelling;
pub use partition::{Partition, PartitionError, partition};
