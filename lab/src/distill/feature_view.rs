//! How a data set is looked at: feature stage, normaliser and kernel.

use ndarray::{Array2, ArrayView2, Axis};

use common::features::Normaliser;
use common::math::kernel::Ntk;
use common::task::{RawTask, Task};

use super::DistilError;
use crate::data::Dataset;
use crate::plan::pooled_normaliser;

/// One way of looking at a data set, the same as a federation's task has.
#[derive(Clone, Debug)]
pub struct FeatureView {
    task: Task,
    normaliser: Normaliser,
}

/// What a feature view is made of.
#[derive(Clone, Debug)]
pub struct FeatureViewPlan {
    /// Feature stage, as a task names it.
    pub stage: String,
    /// Hidden layers of the kernel's network.
    pub depth: u8,
    /// Units of the student's hidden layers.
    pub hidden: Vec<u32>,
    /// Optimiser steps of the student.
    pub student_steps: u32,
    /// Seed of the student.
    pub seed: u64,
}

impl FeatureView {
    /// A feature view on `data`, whose statistics, if it needs any, are those of the
    /// training rows `fit`.
    ///
    /// # Errors
    /// A stage that does not fit the shape of the inputs.
    pub fn new(data: &Dataset, fit: &[usize], plan: &FeatureViewPlan) -> Result<Self, DistilError> {
        let task = task(data, plan)?;
        let rows = data.train.inputs.select(Axis(0), fit);
        let stage = &task.definition().features;
        let features = stage.compute(task.input_shape(), rows.view())?;
        let normaliser = pooled_normaliser(&task, features.view())?;
        Ok(Self { task, normaliser })
    }

    /// The same feature view with a kernel of another depth.
    ///
    /// # Errors
    /// A depth that no task allows.
    pub fn with_plan(&self, data: &Dataset, plan: &FeatureViewPlan) -> Result<Self, DistilError> {
        Ok(Self {
            task: task(data, plan)?,
            normaliser: self.normaliser.clone(),
        })
    }

    /// Raw inputs (n × values) as the kernel sees them, n × features.
    ///
    /// # Errors
    /// Rows of another length, or values that are not finite.
    pub fn see(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, DistilError> {
        let stage = &self.task.definition().features;
        let mut features = stage.compute(self.task.input_shape(), inputs)?;
        self.normaliser.apply_in_place(&mut features)?;
        Ok(features)
    }

    /// The kernel.
    pub fn kernel(&self) -> Ntk {
        Ntk::new(self.task.definition().teacher.depth)
    }

    /// The task that carries stage, kernel and student.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// What brings features to one scale.
    pub fn normaliser(&self) -> &Normaliser {
        &self.normaliser
    }
}

fn task(data: &Dataset, plan: &FeatureViewPlan) -> Result<Task, DistilError> {
    let shape: Vec<usize> = data.shape.iter().map(|&side| side as usize).collect();
    let shape = common::features::InputShape::new(shape)?;
    let stage: common::features::FeatureStage = plan.stage.parse()?;
    let range = match data.range {
        Some(range) => stage.range(&shape, range)?,
        None => None,
    };
    let range = range.map_or(String::new(), |[low, high]| {
        format!("range = [{low:?}, {high:?}]\n")
    });
    let text = format!(
        "name = {name:?}\n[input]\nshape = {sides:?}\n[classes]\nnames = {classes:?}\n\
         [features]\nstage = {stage:?}\n[normaliser]\n{range}[teacher]\ndepth = {depth}\n\
         [student]\nhidden = {hidden:?}\n[distillation]\nsteps = {steps}\nseed = {seed}\n",
        name = data.name,
        sides = data.shape,
        classes = data.classes,
        stage = plan.stage,
        depth = plan.depth,
        hidden = plan.hidden,
        steps = plan.student_steps,
        seed = plan.seed,
    );
    Ok(RawTask::parse(&text)?)
}
