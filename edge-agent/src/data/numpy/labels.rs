//! The array of labels.

use std::io::{Read, Seek};

use common::npz::{Archive, Array, Values};

use super::super::LabelCounts;
use super::super::classes::{ClassNames, Meaning};
use super::super::schema::{LabelSource, ParseError, Place, Problem, Schema};
use super::super::source::BadRows;
use super::array_error;

/// The array that holds the labels: the one that the owner names as the label
/// column, else one of the usual names.
pub(super) fn labels_name<R: Read + Seek + Clone>(
    archive: &Archive<R>,
    schema: &Schema,
) -> Option<String> {
    let named = match schema.labels() {
        LabelSource::None => return None,
        LabelSource::Column(name) | LabelSource::OptionalColumn(name) => name,
    };
    let usual = schema.arrays().labels.iter();
    match named.as_str() {
        // What the column is called where the owner names none.
        "label" => usual
            .chain([named])
            .find(|name| archive.contains(name))
            .cloned(),
        _ => [named]
            .into_iter()
            .chain(usual)
            .find(|name| archive.contains(name))
            .cloned(),
    }
}

/// What a file calls its classes, also where they are numbers.
pub(super) fn names_of(array: &Array, schema: &Schema) -> Result<ClassNames, ParseError> {
    if let Ok(names) = array.to_text() {
        return Ok(ClassNames::new(names.to_vec()));
    }
    let numbers = array.to_f64();
    let numbers = numbers.map_err(|error| array_error("class_names", error, schema))?;
    let names = numbers.iter().map(f64::to_string);
    Ok(ClassNames::new(names.collect()))
}

/// A row of a block that its label costs, where the owner says that bad rows cost themselves.
pub(super) type BadRow = (usize, Place, Problem);

/// How an array of labels is read.
pub(super) struct Labels<'a> {
    pub(super) name: &'a str,
    /// What the file itself calls its classes.
    pub(super) own: Option<ClassNames>,
    pub(super) schema: &'a Schema,
}

impl Labels<'_> {
    /// The labels of a block whose first row this is, and the rows of the block that
    /// they cost.
    pub(super) fn read(
        &self,
        array: &Array,
        first: usize,
        counts: &mut LabelCounts,
    ) -> Result<(Vec<Option<u16>>, Vec<BadRow>), ParseError> {
        let (mut bad, skips) = (Vec::new(), self.schema.mapping().bad_rows == BadRows::Skip);
        let mut labels = Vec::with_capacity(array.rows());
        let mut take = |row: usize, found: Result<Meaning, Problem>| {
            let place = || Place::Element {
                array: self.name.to_owned(),
                row: first + row,
                index: 0,
            };
            let meaning = match found {
                Err(problem) if skips => {
                    bad.push((row, place(), problem));
                    Meaning::Unlabelled
                }
                found => found.map_err(|problem| ParseError::at(place(), problem))?,
            };
            counts.add(meaning);
            labels.push(meaning.class());
            Ok::<_, ParseError>(())
        };
        if let Values::Text(texts) = array.values() {
            for (row, text) in texts.iter().enumerate() {
                take(row, self.schema.classes().of_text(text))?;
            }
        } else if array.holds_truths() && self.own.is_none() {
            let truths = array.to_f64();
            let truths = truths.map_err(|error| array_error(self.name, error, self.schema))?;
            for (row, truth) in truths.into_iter().enumerate() {
                take(row, self.schema.classes().of_truth(truth != 0.0))?;
            }
        } else {
            if let Some(own) = self.own.as_ref().filter(|own| !own.is_counted_by_names()) {
                return Err(ParseError::NumberedNames {
                    names: own.names().join(", "),
                });
            }
            let numbers = array
                .to_f64()
                .map_err(|error| array_error(self.name, error, self.schema))?;
            for (row, number) in numbers.into_iter().enumerate() {
                take(row, self.of_number(number))?;
            }
        }
        Ok((labels, bad))
    }

    /// A number finds its name by the file's own list, where there is one, and
    /// the name its class by the task's.
    fn of_number(&self, number: f64) -> Result<Meaning, Problem> {
        let task = self.schema.classes();
        let Some(own) = &self.own else {
            return task.of_number(number);
        };
        let meaning = own.of_number(number)?;
        match meaning.class() {
            Some(class) => task.of_text(&own.names()[usize::from(class)]),
            None => Ok(meaning),
        }
    }
}
