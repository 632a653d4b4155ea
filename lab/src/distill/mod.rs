//! Distilling one data set by itself: a few points that stand for it.

mod archive;
mod error;
mod feature_view;
mod gallery;
mod kip;
mod kmeans;
mod label_solve;
mod method;
mod problem;
mod run;
mod solve;
mod student;

pub use archive::DistilledSet;
pub use error::DistilError;
pub use feature_view::{FeatureView, FeatureViewPlan};
pub use gallery::{gallery, pictures};
pub use kip::Kip;
pub use kmeans::KMeansCentres;
pub use label_solve::LabelSolve;
pub use method::{Distilled, Method, MethodName, Monitor, StepReport};
pub use problem::{Problem, Rows, Split};
pub use run::{Chosen, DistilOptions, DistilOutcome, Session, choose, outcome};
pub use solve::{Score, Solved, answers, solve};
pub use student::train;
