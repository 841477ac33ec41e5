//! Which device numerics run on.

use std::{fmt, str::FromStr};

/// What `worker.device` may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The GPU where the program was built for one, elsewhere the CPU.
    #[default]
    ByBuild,
    Cpu,
    /// The fastest GPU, or of the discrete ones that with this number.
    Gpu(Option<usize>),
    /// A GPU's driver that computes on the CPU, for tests.
    Software,
}

/// A word that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("names no device: give cpu, gpu, gpu:0 for the first discrete GPU, or software")]
pub struct UnknownDevice;

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(word: &str) -> Result<Self, UnknownDevice> {
        match word {
            "" => Ok(Self::ByBuild),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu(None)),
            "software" => Ok(Self::Software),
            _ => {
                let number = word.strip_prefix("gpu:").ok_or(UnknownDevice)?;
                let number = number.parse().map_err(|_| UnknownDevice)?;
                Ok(Self::Gpu(Some(number)))
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByBuild => Ok(()),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(number)) => write!(f, "gpu:{number}"),
            Self::Software => f.write_str("software"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for word in ["", "cpu", "gpu", "gpu:0", "gpu:17", "software"] {
            let choice: DeviceChoice = word.parse().unwrap();
            assert_eq!(choice.to_string(), word);
        }
        for word in [
            "GPU",
            "cuda",
            "gpu:",
            "gpu:-1",
            "gpu:x",
            "gpu:99999999999999999999",
        ] {
            assert_eq!(word.parse::<DeviceChoice>(), Err(UnknownDevice), "{word}");
        }
    }
}
