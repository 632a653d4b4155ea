//! A student as it is typed.

use common::task::StudentSpec;

/// The student that `mlp:64`, `mlp:64,32` or `cnn:16,32/64` stands for: hidden units, or the
/// channels of convolutions and then hidden units.
///
/// # Errors
/// What may be written, for anything else.
pub fn parse_student(text: &str) -> Result<StudentSpec, String> {
    let known = || format!("{text:?} is no student; write mlp:64, mlp:64,32 or cnn:16,32/64");
    let units = |text: &str| -> Result<Vec<u32>, String> {
        let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
        let numbers = numbers.map_err(|_| known())?;
        let fit = numbers.iter().all(|&units| units > 0);
        fit.then_some(numbers).ok_or_else(known)
    };
    match text.split_once(':') {
        Some(("mlp", hidden)) => Ok(StudentSpec::Mlp {
            hidden: units(hidden)?,
        }),
        Some(("cnn", layers)) => {
            let (channels, hidden) = layers.split_once('/').ok_or_else(known)?;
            Ok(StudentSpec::Cnn {
                channels: units(channels)?,
                hidden: units(hidden)?,
            })
        }
        _ => Err(known()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn students_are_read_as_they_are_written() {
        let hidden = vec![64, 32];
        assert_eq!(
            parse_student("mlp:64,32").unwrap(),
            StudentSpec::Mlp { hidden }
        );
        let (channels, hidden) = (vec![16, 32], vec![64]);
        let cnn = StudentSpec::Cnn { channels, hidden };
        assert_eq!(parse_student("cnn:16,32/64").unwrap(), cnn);
        for text in ["", "mlp", "mlp:", "mlp:0", "cnn:16", "rnn:3"] {
            assert!(parse_student(text).is_err(), "{text}");
        }
    }
}
