//! Graphs made ready for shapes of inputs.

use std::collections::HashMap;

use crate::{Graph, OnnxError, Plan};

/// Graphs made ready, by shape.
#[derive(Debug, Default)]
pub(crate) struct Plans(HashMap<Vec<usize>, Plan>);

impl Plans {
    pub(crate) fn get(
        &mut self,
        graph: &Graph,
        shape: &[usize],
        outputs: &[String],
    ) -> Result<&Plan, OnnxError> {
        if self.0.len() >= PLANS_MAX && !self.0.contains_key(shape) {
            self.0.clear();
        }
        match self.0.entry(shape.to_vec()) {
            std::collections::hash_map::Entry::Occupied(found) => Ok(found.into_mut()),
            std::collections::hash_map::Entry::Vacant(free) => {
                Ok(free.insert(graph.plan(shape, outputs)?))
            }
        }
    }
}

/// Most shapes that a graph is kept ready for.
const PLANS_MAX: usize = 32;
