//! Where models compute: chosen at run time among the backends this build carries.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU when this build can use one and one is there, else the CPU.
    #[default]
    Auto,
    /// The CPU (backend `flex`).
    Cpu,
    /// A GPU (backend `wgpu`).
    Wgpu,
}

/// Why a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Not a device name.
    #[error("{0:?} is not a device; choose auto, cpu or wgpu")]
    Unknown(String),
    /// The backend was left out when this program was built.
    #[error("this build has no {backend} backend; build again with `--features {backend}`")]
    NotBuilt {
        /// The missing cargo feature.
        backend: &'static str,
    },
    /// No GPU was found.
    #[error("no GPU that wgpu can use was found (is a Vulkan, Metal or DirectX 12 driver installed?)")]
    NoAdapter,
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu),
            other => Err(DeviceError::Unknown(other.chars().take(32).collect())),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
        })
    }
}

/// A device that can compute.
#[derive(Debug, Clone)]
pub struct ComputeDevice {
    backend: &'static str,
    device: Device,
}

impl ComputeDevice {
    /// Opens the device of the user's choice.
    pub fn open(choice: DeviceChoice) -> Result<Self, DeviceError> {
        match choice {
            DeviceChoice::Cpu => cpu(),
            DeviceChoice::Wgpu => gpu(),
            DeviceChoice::Auto => gpu().or_else(|_| cpu()),
        }
    }

    /// Name of its backend, as descriptors carry it.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    pub(crate) fn burn(&self) -> &Device {
        &self.device
    }
}

#[cfg(feature = "flex")]
fn cpu() -> Result<ComputeDevice, DeviceError> {
    Ok(ComputeDevice { backend: "flex", device: Device::flex() })
}

#[cfg(not(feature = "flex"))]
fn cpu() -> Result<ComputeDevice, DeviceError> {
    Err(DeviceError::NotBuilt { backend: "flex" })
}

#[cfg(feature = "wgpu")]
fn gpu() -> Result<ComputeDevice, DeviceError> {
    use burn::tensor::{DeviceKind, DeviceType, Tensor};

    // The graphics stack reports a missing or broken driver by panicking, so it is tried out behind a guard: find
    // an adapter, compute on it once.
    let tried = std::panic::catch_unwind(|| {
        let found = Device::enumerate(DeviceType::Wgpu).into_vec();
        if found.is_empty() {
            return None;
        }
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let sum = Tensor::<1>::ones([2], &device).sum().try_into_vec_as::<f32>().ok()?;
        (sum == [2.0]).then_some(device)
    });
    match tried {
        Ok(Some(device)) => Ok(ComputeDevice { backend: "wgpu", device }),
        _ => Err(DeviceError::NoAdapter),
    }
}

#[cfg(not(feature = "wgpu"))]
fn gpu() -> Result<ComputeDevice, DeviceError> {
    Err(DeviceError::NotBuilt { backend: "wgpu" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["auto", "cpu", "wgpu"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        let error = "tpu".parse::<DeviceChoice>().unwrap_err().to_string();
        assert!(error.contains("auto, cpu or wgpu"), "{error}");
    }

    #[cfg(feature = "flex")]
    #[test]
    fn auto_always_finds_a_device() {
        assert!(ComputeDevice::open(DeviceChoice::Auto).is_ok());
        assert_eq!(ComputeDevice::open(DeviceChoice::Cpu).unwrap().backend(), "flex");
    }

    #[cfg(not(feature = "wgpu"))]
    #[test]
    fn a_backend_left_out_is_named() {
        let error = ComputeDevice::open(DeviceChoice::Wgpu).unwrap_err().to_string();
        assert!(error.contains("--features wgpu"), "{error}");
    }
}
