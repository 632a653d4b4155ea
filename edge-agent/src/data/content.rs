//! What a file is, by its first bytes, whatever it is called.

/// What bytes begin that are no table of text, and how a table is made of it.
pub(super) fn foreign(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let known = STARTS.iter().find(|(start, ..)| bytes.starts_with(start));
    let known = known.map(|&(_, what, advice)| (what, advice));
    known.or_else(|| media(bytes)).or_else(|| numbers(bytes))
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

/// Pictures and sounds. A table may begin with the letters of some of them, such as
/// `BMI` or `GIF8`: what follows decides.
fn media(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let is_table_start = match bytes {
        [b'B', b'M', ..] => bytes.get(6..10) != Some(&[0; 4]),
        [b'G', b'I', b'F', b'8', ..] => !matches!(bytes.get(4..6), Some(b"7a" | b"9a")),
        [b'R', b'I', b'F', b'F', ..] => false,
        _ => {
            bytes.get(8..12) == Some(b"WEBP")
                || bytes.first() != Some(&0) && bytes.get(4..8) == Some(b"ftyp")
        }
    };
    if let Some(what) = picture(bytes).filter(|_| !is_table_start) {
        return Some((
            what,
            "save it as PNG or JPEG, in a folder named as its class",
        ));
    }
    let what = match bytes {
        [0x89, b'P', b'N', b'G', ..] => return Some(("a PNG", "let its name end in .png")),
        [0xff, 0xd8, 0xff, ..] => return Some(("a JPEG", "let its name end in .jpg")),
        _ if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE") => {
            return Some(("a WAV recording", "let its name end in .wav"));
        }
        [b'f', b'L', b'a', b'C', ..] => "a FLAC recording",
        [b'O', b'g', b'g', b'S', 0, ..] => "an Ogg recording",
        [b'I', b'D', b'3', 0..=9, ..] | [0xff, 0xfb | 0xfa | 0xf3 | 0xf2, ..] => "an MP3 recording",
        _ => return None,
    };
    Some((what, "save it as WAV, in a folder named as its class"))
}

/// Files of numbers that other programs write.
fn numbers(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    match bytes {
        [0x80, 2..=5, ..] => Some((
            "a pickle of Python's",
            "write a table as CSV or Parquet, arrays with numpy.savez_compressed",
        )),
        _ => None,
    }
}

/// First bytes, what begins so, and what to do.
const STARTS: [(&[u8], &str, &str); 18] = [
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
    (
        b"BZh91AY&SY",
        "packed by bzip2",
        "unpack it, or pack it by gzip or zstd",
    ),
    (
        b"\xfd7zXZ\0",
        "packed by xz",
        "unpack it, or pack it by gzip or zstd",
    ),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (
        b"ARROW1\0\0",
        "an Arrow or Feather file",
        "write it as Parquet",
    ),
    (b"FEA1", "a Feather file", "write it as Parquet"),
    (
        b"MATLAB 5.0 MAT-file",
        "a MAT file",
        "write its arrays with numpy.savez_compressed",
    ),
    (b"%PDF-", "a PDF", "export its table as CSV"),
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
        for (bytes, what) in [
            (&b"GIF89a\x01\0"[..], "a GIF"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "a WebP"),
            (b"BM\x36\0\0\0\0\0\0\0\x36", "a BMP"),
            (b"fLaC\0\0\0\"", "a FLAC recording"),
            (b"OggS\0\x02", "an Ogg recording"),
            (b"ID3\x04\0", "an MP3 recording"),
            (b"\x80\x04\x95\x10\0", "a pickle of Python's"),
            (b"ARROW1\0\0", "an Arrow or Feather file"),
            (b"MATLAB 5.0 MAT-file, Platform", "a MAT file"),
            (b"BZh91AY&SY", "packed by bzip2"),
            (b"\xfd7zXZ\0\0", "packed by xz"),
            (b"PAR1\x15\x04", "a Parquet file"),
        ] {
            assert_eq!(foreign(bytes).unwrap().0, what);
        }
        for text in [
            &b"BMI,age\n22,40\n"[..],
            b"GIF8,b\n",
            b"ID3,b\n",
            b"BZh,c\n",
            b"x,y,ftyp\n",
        ] {
            assert_eq!(foreign(text), None);
        }
        assert_eq!(picture(b"RIFF\0\0\0\0WEBPVP8 "), Some("a WebP"));
        assert_eq!(picture(b"\xff\xd8\xff\xe0"), None);
    }
}
