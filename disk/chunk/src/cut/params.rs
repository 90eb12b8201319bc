//! Parameters of the content cutter, as data: whoever shares chunks must cut by the same ones.

use std::fmt;

use thiserror::Error;

use crate::codec::{DecodeError, Reader, Writer};

/// Names the algorithm in encoded parameters. Another algorithm, another normalisation or another
/// way to make the table from the seed is another number.
const ALGORITHM: u8 = 1;

/// Limits of the content cutter. The seed is a secret of the appliance: who knows it and sees only
/// the lengths of chunks can test whether a known file is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct CutParams {
    /// No cut is looked for before this length; only the end of the content gives shorter chunks.
    pub min: u32,
    /// Up to this length cuts are rarer, beyond it more frequent. A power of two.
    pub average: u32,
    /// A chunk that grows to this length is cut wherever that is.
    pub max: u32,
    pub seed: [u8; 32],
}

/// Why parameters cannot be cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CutParamsError {
    #[error("{what} of {value} bytes is not between {least} and {most}")]
    Range { what: &'static str, value: u32, least: u32, most: u32 },
    #[error("{what} of {value} bytes is odd")]
    Odd { what: &'static str, value: u32 },
    #[error("average of {value} bytes is not a power of two")]
    NotPowerOfTwo { value: u32 },
}

impl CutParamsError {
    fn value(self) -> u32 {
        match self {
            Self::Range { value, .. } | Self::Odd { value, .. } | Self::NotPowerOfTwo { value } => {
                value
            }
        }
    }
}

impl CutParams {
    pub const ENCODED_LEN: usize = 1 + 3 * 4 + 32;
    pub const MIN_LEAST: u32 = 64;
    pub const AVERAGE_LEAST: u32 = 256;
    /// No chunk is longer, whatever the parameters: tables keep lengths in 24 bits.
    pub const MAX_MOST: u32 = 4 << 20;

    /// The measured default, see `MEASUREMENTS.md`.
    #[must_use]
    pub fn with_seed(seed: [u8; 32]) -> Self {
        Self { min: 16 << 10, average: 64 << 10, max: 256 << 10, seed }
    }

    pub fn check(&self) -> Result<(), CutParamsError> {
        range("average", self.average, Self::AVERAGE_LEAST, Self::MAX_MOST)?;
        range("min", self.min, Self::MIN_LEAST, self.average)?;
        range("max", self.max, self.average, Self::MAX_MOST)?;
        // The mask is chosen by the logarithm of the average, which must not depend on how a
        // machine rounds.
        if !self.average.is_power_of_two() {
            return Err(CutParamsError::NotPowerOfTwo { value: self.average });
        }
        // The scan takes two bytes at a time.
        for (what, value) in [("min", self.min), ("max", self.max)] {
            if value % 2 != 0 {
                return Err(CutParamsError::Odd { what, value });
            }
        }
        Ok(())
    }

    pub fn encode(&self, writer: &mut Writer) {
        writer.u8(ALGORITHM);
        writer.u32(self.min);
        writer.u32(self.average);
        writer.u32(self.max);
        writer.raw(&self.seed);
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::over(Vec::with_capacity(Self::ENCODED_LEN));
        self.encode(&mut writer);
        writer.finish()
    }

    /// Accepts only parameters that can be cut by.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let algorithm = reader.u8()?;
        if algorithm != ALGORITHM {
            return Err(reader.undefined("cut algorithm", u64::from(algorithm)));
        }
        let params = Self {
            min: reader.u32()?,
            average: reader.u32()?,
            max: reader.u32()?,
            seed: reader.array()?,
        };
        match params.check() {
            Ok(()) => Ok(params),
            Err(error) => Err(reader.undefined("cut parameter", u64::from(error.value()))),
        }
    }
}

impl fmt::Debug for CutParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CutParams({}/{}/{}, seed secret)", self.min, self.average, self.max)
    }
}

fn range(what: &'static str, value: u32, least: u32, most: u32) -> Result<(), CutParamsError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(CutParamsError::Range { what, value, least, most })
    }
}
