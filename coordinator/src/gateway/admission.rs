//! Who is let in at a gateway: what its listener goes by.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use common::ids::DeviceId;
use common::transport::{ConnectionLimits, ListenerSettings, TransportError};
use common::trust::clock::Clock;
use tokio::sync::watch;

use super::identity::GatewayIdentity;

/// The rules: certificates as they are renewed, revocations and the time of
/// grace as the coordinator says them.
pub(super) struct Rules {
    identity: watch::Sender<Arc<GatewayIdentity>>,
    clock: Clock,
    limits: ConnectionLimits,
    grace_ms: AtomicU64,
    revoked: Arc<RwLock<BTreeSet<DeviceId>>>,
}

impl Rules {
    pub(super) fn new(
        identity: watch::Sender<Arc<GatewayIdentity>>,
        clock: Clock,
        limits: ConnectionLimits,
    ) -> Self {
        Self {
            identity,
            clock,
            limits,
            grace_ms: AtomicU64::new(0),
            revoked: Arc::default(),
        }
    }

    /// What the listener is set to now.
    ///
    /// # Errors
    /// [`TransportError::Credentials`] if the certificate cannot be used.
    pub(super) fn settings(&self) -> Result<ListenerSettings, TransportError> {
        let identity = self.identity();
        let mut settings = super::listener_settings(&identity, self.clock.clone())?;
        settings.limits = self.limits;
        settings.grace_ms = self.grace_ms.load(Ordering::Relaxed);
        let revoked = self.revoked.clone();
        settings.revoked = Arc::new(move |device| {
            let revoked = revoked.read().unwrap_or_else(PoisonError::into_inner);
            revoked.contains(&device)
        });
        Ok(settings)
    }

    /// Key and certificates as they are now.
    pub(super) fn identity(&self) -> Arc<GatewayIdentity> {
        self.identity.borrow().clone()
    }

    /// Tells whenever the listener is to be set anew.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<GatewayIdentity>> {
        self.identity.subscribe()
    }

    /// Other certificates from now on.
    pub(super) fn replace(&self, identity: GatewayIdentity) {
        self.identity.send_replace(Arc::new(identity));
    }

    /// How long a device may renew after its certificate is over.
    pub(super) fn set_grace(&self, grace_ms: u64) {
        if self.grace_ms.swap(grace_ms, Ordering::Relaxed) != grace_ms {
            self.identity.send_modify(|_| {});
        }
    }

    /// Exactly these are revoked.
    pub(super) fn set_revoked(&self, devices: BTreeSet<DeviceId>) {
        *self.revoked.write().unwrap_or_else(PoisonError::into_inner) = devices;
    }

    /// These are revoked as well.
    pub(super) fn revoke(&self, devices: &[DeviceId]) {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        revoked.extend(devices);
    }

    /// How many devices are revoked, as far as the coordinator has said.
    pub(super) fn count_revoked(&self) -> u64 {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        revoked.len() as u64
    }

    /// Whether a device is revoked, as far as the coordinator has said.
    pub(super) fn is_revoked(&self, device: DeviceId) -> bool {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        revoked.contains(&device)
    }
}
