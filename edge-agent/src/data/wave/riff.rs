//! The chunks of a WAV file, and its samples.

/// What a WAV file says of its samples, and where they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Riff<'a> {
    pub(super) channels: usize,
    pub(super) rate_hz: u32,
    kind: Kind,
    /// Bytes of a sample of one channel.
    width: usize,
    data: &'a [u8],
    /// Bytes that the header declares, where the file ends before them.
    pub(super) cut_from: Option<u64>,
}

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Integers of so many bits that say something.
    Integer {
        bits: u32,
    },
    Float,
    /// One byte by the A-law or the µ-law of ITU-T G.711.
    ALaw,
    MuLaw,
}

impl<'a> Riff<'a> {
    /// Reads the header. A length that nobody has filled in, as where a recorder
    /// was switched off or writes to a pipe, means all that follows.
    ///
    /// # Errors
    /// Why it is no WAV file, or none that is read.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let is_riff = matches!(bytes.get(..4), Some(b"RIFF" | b"RF64" | b"BW64"));
        if !is_riff || bytes.get(8..12) != Some(b"WAVE") {
            return Err("it does not begin with RIFF and WAVE".to_owned());
        }
        let (mut at, mut format, mut long) = (12, None, None);
        while let Some((name, declared)) = chunk(bytes, at) {
            let rest = &bytes[at + 8..];
            let length = usize::try_from(declared).map_or(rest.len(), |all| all.min(rest.len()));
            match name {
                b"fmt " => format = Some(Format::parse(&rest[..length])?),
                // Lengths of more than 32 bits: of the file, and of the samples.
                b"ds64" => long = eight(rest.get(8..16)),
                b"data" => {
                    let format = format.ok_or("its samples come before their format")?;
                    return format.of(rest, declared, long);
                }
                _ => {}
            }
            at = following(bytes, at + 8 + length, length);
        }
        match format {
            Some(_) => Err("it holds no samples; is it recorded to its end?".to_owned()),
            None => Err("it says nothing of its format".to_owned()),
        }
    }

    /// How many samples there are, of all channels.
    pub(super) fn len(&self) -> usize {
        self.data.len() / (self.width * self.channels) * self.channels
    }

    /// The samples, channel after channel, from −1 to 1.
    pub(super) fn samples(&self) -> Vec<f32> {
        let samples = self.data.chunks_exact(self.width).take(self.len());
        match self.kind {
            Kind::ALaw => samples.map(|sample| a_law(sample[0])).collect(),
            Kind::MuLaw => samples.map(|sample| mu_law(sample[0])).collect(),
            Kind::Float => samples.map(float).collect(),
            Kind::Integer { bits } => {
                let (is_low, spare) = (self.is_low(bits), 32 - 8 * self.width as u32);
                let full = 2f64.powi(31);
                let placed = |sample| match is_low {
                    true => (integer(sample) >> spare) << (32 - bits),
                    false => integer(sample),
                };
                samples
                    .map(|sample| (f64::from(placed(sample)) / full) as f32)
                    .collect()
            }
        }
    }

    /// Whether integers of fewer bits than their bytes have lie in the lower ones,
    /// which the format does not know and some programs write: the bits above them
    /// are copies of the sign, and those below are in use.
    fn is_low(&self, bits: u32) -> bool {
        let spare = 8 * self.width as u32 - bits;
        let value = |sample| integer(sample) >> (32 - 8 * self.width as u32);
        let values = || self.data.chunks_exact(self.width).map(value);
        let extends = |value: i32| value << (32 - bits) >> (32 - bits) == value;
        let uses_low = |value: i32| value & ((1 << spare) - 1) != 0;
        spare > 0 && values().all(extends) && values().any(uses_low)
    }
}

/// A format chunk.
#[derive(Clone, Copy)]
struct Format {
    channels: usize,
    rate_hz: u32,
    kind: Kind,
    width: usize,
}

impl Format {
    fn parse(chunk: &[u8]) -> Result<Self, String> {
        let two = |at: usize| {
            let pair = chunk.get(at..at + 2);
            let pair = pair.ok_or("its format is cut short")?;
            Ok::<_, String>(u16::from_le_bytes([pair[0], pair[1]]))
        };
        let channels = usize::from(two(2)?);
        let rate_hz = u32::from(two(4)?) | u32::from(two(6)?) << 16;
        let (align, bits) = (usize::from(two(12)?), two(14)?);
        if channels == 0 || rate_hz == 0 {
            return Err("it says that it has no channel or no rate".to_owned());
        }
        let (mut tag, mut valid) = (two(0)?, bits);
        if tag == EXTENSIBLE {
            if chunk.get(26..40) != Some(&SUBFORMAT) {
                return Err("its format is one that is not known".to_owned());
            }
            tag = two(24)?;
            valid = match two(18)? {
                0 => bits,
                valid => valid.min(bits),
            };
        }
        let needed = usize::from(bits).div_ceil(8);
        let width = match align / channels {
            0 => needed,
            width => width,
        };
        let kind = match (tag, width) {
            (PCM, 1..=4) if (1..=32).contains(&valid) && needed <= width => Kind::Integer {
                bits: u32::from(valid),
            },
            (FLOAT, 4 | 8) if needed == width => Kind::Float,
            (A_LAW, 1) => Kind::ALaw,
            (MU_LAW, 1) => Kind::MuLaw,
            (PCM | FLOAT, _) => {
                return Err(format!(
                    "its samples have {bits} bits in {width} bytes; {ADVICE}"
                ));
            }
            _ => {
                return Err(format!(
                    "its samples are packed by method {tag:#06x}; {ADVICE}"
                ));
            }
        };
        Ok(Self {
            channels,
            rate_hz,
            kind,
            width,
        })
    }

    fn of(self, rest: &[u8], declared: u32, long: Option<u64>) -> Result<Riff<'_>, String> {
        let there = rest.len() as u64;
        let bytes = match (declared, long) {
            (u32::MAX, Some(long)) => long,
            // Nothing at all, and then what is no chunk: the length is missing.
            (0, _) if !rest.is_empty() && !is_chunk(rest) => there,
            (UNKNOWN.., _) => there,
            (declared, _) => u64::from(declared),
        };
        let data = &rest[..bytes.min(there) as usize];
        let Self {
            channels,
            rate_hz,
            kind,
            width,
        } = self;
        let riff = Riff {
            channels,
            rate_hz,
            kind,
            width,
            data,
            cut_from: (bytes > there).then_some(bytes),
        };
        match riff.len() {
            0 => Err("it holds no samples; is it recorded to its end?".to_owned()),
            _ => Ok(riff),
        }
    }
}

/// The name and the declared length of the chunk at a place.
fn chunk(bytes: &[u8], at: usize) -> Option<(&[u8; 4], u32)> {
    let header = bytes.get(at..at.checked_add(8)?)?;
    let (name, length) = header.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length.first_chunk::<4>()?);
    Some((name, length))
}

/// Whether bytes are a chunk that fits.
fn is_chunk(bytes: &[u8]) -> bool {
    chunk(bytes, 0).is_some_and(|(name, length)| {
        let is_name = name.iter().all(|byte| (b' '..=b'~').contains(byte));
        is_name && u64::from(length) <= bytes.len() as u64 - 8
    })
}

/// Where the chunk after one of this length begins: at an even place, but for
/// programs that do not pad.
fn following(bytes: &[u8], end: usize, length: usize) -> usize {
    let padded = end + length % 2;
    let fits = |at: usize| bytes.get(at..).is_some_and(is_chunk);
    match padded != end && !fits(padded) && fits(end) {
        true => end,
        false => padded,
    }
}

fn eight(bytes: Option<&[u8]>) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes?.first_chunk::<8>()?))
}

/// A sample of 1 to 4 bytes in the upper bits of 32; one byte is without a sign.
fn integer(sample: &[u8]) -> i32 {
    let mut bytes = [0; 4];
    bytes[4 - sample.len()..].copy_from_slice(sample);
    let value = i32::from_le_bytes(bytes);
    match sample.len() {
        1 => value ^ i32::MIN,
        _ => value,
    }
}

fn float(sample: &[u8]) -> f32 {
    match (sample.first_chunk::<8>(), sample.first_chunk::<4>()) {
        (Some(wide), _) => f64::from_le_bytes(*wide) as f32,
        (_, Some(narrow)) => f32::from_le_bytes(*narrow),
        _ => 0.0,
    }
}

/// ITU-T G.711, A-law, as a share of full scale.
fn a_law(byte: u8) -> f32 {
    let code = byte ^ 0x55;
    let (exponent, mantissa) = ((code >> 4) & 7, i32::from(code & 15));
    let size = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    let value = if code & 0x80 == 0 { -size } else { size };
    value as f32 / 32_768.0
}

/// ITU-T G.711, µ-law, as a share of full scale.
fn mu_law(byte: u8) -> f32 {
    let code = !byte;
    let (exponent, mantissa) = ((code >> 4) & 7, i32::from(code & 15));
    let size = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    let value = if code & 0x80 == 0 { size } else { -size };
    value as f32 / 32_768.0
}

const PCM: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;
/// What follows the method in an extensible format's identifier.
const SUBFORMAT: [u8; 14] = [
    0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71,
];
/// Lengths from here on are those of programs that do not know theirs.
const UNKNOWN: u32 = 0x7fff_f000;
const ADVICE: &str = "write it with plain samples, such as ffmpeg -i IN.wav -c:a pcm_s16le OUT.wav";
