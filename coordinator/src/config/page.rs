//! The section `[page]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use serde::Deserialize;

use super::ConfigError;
use crate::config_layers::Layers;
use crate::page::PageSettings;

/// Where the page is served unless something says otherwise.
pub const PAGE_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4480);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPage {
    listen: Option<String>,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    hosts: Vec<String>,
}

impl Layers<'_> {
    /// What anyone can see of the fleet is kept from the network, unless the
    /// file says otherwise in so many words.
    pub(super) fn page(
        &self,
        flag: Option<String>,
        raw: RawPage,
        state: &Path,
    ) -> Result<Option<PageSettings>, ConfigError> {
        let told = self.find("page.listen", ("--page", flag), "ALAMBIC_PAGE", raw.listen);
        let settings = |listen, required| PageSettings {
            listen,
            required,
            public: raw.public,
            hosts: raw.hosts,
            state: state.to_owned(),
        };
        let Some(told) = told else {
            return Ok(Some(settings(PAGE_DEFAULT, false)));
        };
        if told.value == "off" {
            return Ok(None);
        }
        let Ok(listen) = told.value.parse::<SocketAddr>() else {
            return Err(told.refuse("off, or an IP address and a port, such as 127.0.0.1:4480"));
        };
        if !listen.ip().is_loopback() && !raw.public {
            return Err(told.refuse(
                "a loopback address (127.0.0.1 or [::1]): whoever reaches the page sees device \
                 names and the distilled data; `public = true` under [page] allows others",
            ));
        }
        Ok(Some(settings(listen, listen != PAGE_DEFAULT)))
    }
}
