//! How long a device's certificate is honoured.

/// How long devices are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateTerms {
    /// How long a device's certificate lasts. Short, because a lost device
    /// that nobody misses is out after this; devices renew by themselves
    /// from half of it on.
    pub device_lifetime_ms: u64,
    /// How long a device may still renew once its certificate is over.
    pub renewal_grace_ms: u64,
}

impl Default for CertificateTerms {
    /// 30 days, and 180 days of grace.
    fn default() -> Self {
        Self {
            device_lifetime_ms: 30 * DAY_MS,
            renewal_grace_ms: 180 * DAY_MS,
        }
    }
}

const DAY_MS: u64 = 24 * 3_600_000;
