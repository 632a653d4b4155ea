//! What a file is, by its first bytes, whatever it is called.

/// What bytes begin that are no table of text, and how a table is made of it.
pub(super) fn foreign(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let known = STARTS.iter().find(|(start, ..)| bytes.starts_with(start));
    known.map(|&(_, what, advice)| (what, advice))
}

/// The kind of a picture that is neither PNG nor JPEG.
pub(super) fn picture(bytes: &[u8]) -> Option<&'static str> {
    let kind = match bytes {
        [b'G', b'I', b'F', b'8', ..] => "a GIF",
        [b'B', b'M', ..] => "a BMP",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "a TIFF",
        _ if bytes.get(8..12) == Some(b"WEBP") => "a WebP",
        _ if bytes.get(4..8) == Some(b"ftyp") => "a HEIC or AVIF",
        _ => return None,
    };
    Some(kind)
}

/// First bytes, what begins so, and what to do.
const STARTS: [(&[u8], &str, &str); 11] = [
    (
        b"\x1f\x8b",
        "packed by gzip",
        "add .gz to its name, or unpack it",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "packed by zstd",
        "add .zst to its name, or unpack it",
    ),
    (
        b"PK\x03\x04",
        "a ZIP archive or an Excel workbook",
        "unpack it, or save the sheet as CSV",
    ),
    (
        b"\xd0\xcf\x11\xe0",
        "an old Excel workbook",
        "save the sheet as CSV",
    ),
    (
        b"SQLite format 3\0",
        "a SQLite database",
        "let its name end in .sqlite",
    ),
    (b"PAR1", "a Parquet file", "let its name end in .parquet"),
    (b"\x93NUMPY", "a NumPy array", "let its name end in .npy"),
    (
        b"\x89HDF",
        "an HDF5 file",
        "write its arrays with numpy.savez_compressed",
    ),
    (b"\xff\xfe\0\0", "UTF-32 text", "save it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32 text", "save it as UTF-8"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS and not the file itself",
        "fetch it with git lfs pull",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_table_is_called_by_its_name() {
        assert!(foreign(b"PK\x03\x04\x14").unwrap().0.contains("Excel"));
        assert!(
            foreign(b"\xff\xfe\0\0a\0\0\0")
                .unwrap()
                .0
                .contains("UTF-32")
        );
        for text in [&b"a,b\n1,2\n"[..], b"\xff\xfea\0,\0", b"", b"P,K\n"] {
            assert_eq!(foreign(text), None);
        }
        assert_eq!(picture(b"RIFF\0\0\0\0WEBPVP8 "), Some("a WebP"));
        assert_eq!(picture(b"\xff\xd8\xff\xe0"), None);
    }
}
