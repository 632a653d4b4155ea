//! Paths in JSON. A name that is no UTF-8, as on an old card or share, is written as
//! it is shown, and does not take the rest of the document away.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// A path as text, for `#[serde(serialize_with)]`.
///
/// # Errors
/// What the serialiser says.
pub fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// The same of several.
///
/// # Errors
/// What the serialiser says.
pub fn paths<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    #[derive(serde::Serialize)]
    struct Told {
        #[serde(serialize_with = "path")]
        one: PathBuf,
        #[serde(serialize_with = "paths")]
        all: Vec<PathBuf>,
    }

    #[test]
    fn a_name_that_is_no_utf8_is_written_as_it_is_shown() {
        let latin1 = PathBuf::from(OsString::from_vec(b"gr\xf6sse.csv".to_vec()));
        let told = Told {
            one: latin1.clone(),
            all: vec![latin1, "b.csv".into()],
        };
        let text = serde_json::to_string(&told).unwrap();
        let expected = "{\"one\":\"gr\u{fffd}sse.csv\",\"all\":[\"gr\u{fffd}sse.csv\",\"b.csv\"]}";
        assert_eq!(text, expected);
    }
}
