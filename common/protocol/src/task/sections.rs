//! How a task's bytes grow without changing those of older tasks.
//!
//! The fields that every task has come first, one after the other. What was
//! added later follows in sections, each a tag and a value, in rising order of
//! their tags, and only where it is not what a task without it has. So a task
//! of older keys keeps its bytes and its name, one value has one form, and a
//! program that does not know a section refuses the task instead of leaving
//! something out.

use super::backbone::Backbone;
use super::definition::TaskDefinition;
use super::input::{ArrayInput, InputKind};
use super::target::Target;
use crate::codec::{DecodeError, decode_blob_start, encode};

/// The tag of `[input]`.
const INPUT: u8 = 1;
/// The tag of `[target]`.
const TARGET: u8 = 2;
/// The tag of `student.novelty`, which has no value.
const NOVELTY: u8 = 3;
/// The tag of `rounds.mode` "standing".
const STANDING: u8 = 4;
/// The tag of `distillation.refinement_steps`.
const REFINEMENT: u8 = 5;
/// The tag of `budget.plan = "auto"`, which has no value.
const AUTO_BUDGET: u8 = 6;
/// The tag of `groups`.
const GROUPS: u8 = 7;
/// The tag of `features.stage = "onnx"`.
const BACKBONE: u8 = 8;
/// The tag of `features.learn_directions`, which has no value.
const LEARNT_DIRECTIONS: u8 = 9;

impl TaskDefinition {
    /// The bytes that name the task.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(&(
            &self.name,
            &self.input_shape,
            &self.classes,
            &self.features,
            &self.normalisation,
            &self.teacher,
            &self.student,
            &self.budget,
            &self.contribute,
            &self.distillation,
            &self.rounds,
            &self.method,
        ));
        if !self.input.is_plain() {
            bytes.push(INPUT);
            bytes.extend(encode(&self.input));
        }
        if !self.target.is_class() {
            bytes.push(TARGET);
            bytes.extend(encode(&self.target));
        }
        if self.novelty {
            bytes.push(NOVELTY);
        }
        if let Some(standing) = &self.standing {
            bytes.push(STANDING);
            bytes.extend(encode(standing));
        }
        if self.refinement_steps > 0 {
            bytes.push(REFINEMENT);
            bytes.extend(encode(&self.refinement_steps));
        }
        if self.auto_budget {
            bytes.push(AUTO_BUDGET);
        }
        if !self.groups.is_empty() {
            bytes.push(GROUPS);
            bytes.extend(encode(&self.groups));
        }
        if let Some(backbone) = &self.backbone {
            bytes.push(BACKBONE);
            bytes.extend(encode(backbone));
        }
        if self.learns_directions {
            bytes.push(LEARNT_DIRECTIONS);
        }
        bytes
    }

    /// The definition of the bytes of [`Self::to_bytes`], unchecked.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (fields, mut rest) = decode_blob_start(bytes)?;
        let (
            name,
            input_shape,
            classes,
            features,
            normalisation,
            teacher,
            student,
            budget,
            contribute,
            distillation,
            rounds,
            method,
        ) = fields;
        let mut task = Self {
            name,
            input_shape,
            classes,
            features,
            normalisation,
            teacher,
            student,
            budget,
            contribute,
            distillation,
            rounds,
            method,
            input: InputKind::Array(ArrayInput::default()),
            target: Target::Class,
            novelty: false,
            standing: None,
            refinement_steps: 0,
            auto_budget: false,
            backbone: None,
            learns_directions: false,
            groups: Vec::new(),
        };
        if let [INPUT, section @ ..] = rest {
            (task.input, rest) = decode_blob_start(section)?;
            if task.input.is_plain() {
                return Err(DecodeError::Trailing(section.len() + 1));
            }
        }
        if let [TARGET, section @ ..] = rest {
            (task.target, rest) = decode_blob_start(section)?;
            if task.target.is_class() {
                return Err(DecodeError::Trailing(section.len() + 1));
            }
        }
        if let [NOVELTY, after @ ..] = rest {
            (task.novelty, rest) = (true, after);
        }
        if let [STANDING, section @ ..] = rest {
            let standing;
            (standing, rest) = decode_blob_start(section)?;
            task.standing = Some(standing);
        }
        if let [REFINEMENT, section @ ..] = rest {
            (task.refinement_steps, rest) = decode_blob_start(section)?;
            if task.refinement_steps == 0 {
                return Err(DecodeError::Trailing(section.len() + 1));
            }
        }
        if let [AUTO_BUDGET, after @ ..] = rest {
            (task.auto_budget, rest) = (true, after);
        }
        if let [GROUPS, section @ ..] = rest {
            (task.groups, rest) = decode_blob_start(section)?;
            if task.groups.is_empty() {
                return Err(DecodeError::Trailing(section.len() + 1));
            }
        }
        if let [BACKBONE, section @ ..] = rest {
            let backbone: Backbone;
            (backbone, rest) = decode_blob_start(section)?;
            task.backbone = Some(backbone);
        }
        if let [LEARNT_DIRECTIONS, after @ ..] = rest {
            (task.learns_directions, rest) = (true, after);
        }
        match rest.len() {
            0 => Ok(task),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}
