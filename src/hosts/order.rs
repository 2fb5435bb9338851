//! What an order means on the host that gets it.

use super::messages::Order;
use super::name::HostName;
use crate::clock::Clock;
use crate::config::{Asked, Devices, Output, Pick, Plan, Wanted, emulated_serial};
use crate::error::{Error, Result};
use crate::usb::Bus;
use crate::usb::cable;
use crate::usb::emulated::EmulatedBus;
use crate::usb::host::HostBus;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// What an agent was started with: what is this host's alone, and no order changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// What rigs call this host.
    pub name: HostName,
    /// Where its parts of takes go.
    pub store: PathBuf,
    /// The depth engine to load, if it is not the usual one.
    pub depth_engine: Option<PathBuf>,
    /// The sync cable of emulated devices, which those of other hosts are plugged into too.
    pub cable: Option<PathBuf>,
    /// How long a recorder goes on without an end when its coordinator is silent, in seconds.
    pub lease_s: u64,
}

impl Local {
    /// The folder of a part.
    #[must_use]
    pub fn folder(&self, order: &Order) -> PathBuf {
        self.store.join(order.take.as_ref())
    }

    /// What this host does of an order.
    ///
    /// # Errors
    /// `Usage` when the order is none, or concerns no device of this host.
    pub fn plan(&self, order: &Order) -> Result<Plan> {
        let asked = Asked {
            pick: order.serial.clone().map(Pick::Serial),
            sets: order.sets.clone(),
            ..Asked::default()
        };
        let rig = asked.resolve_text(&order.rig)?;
        let Wanted::Each(all) = rig.wanted else {
            return Err(Error::Usage("the rig lists no devices".to_owned()));
        };
        let is_here = |host: &Option<String>| host.as_deref() == Some(self.name.as_ref());
        let here: Vec<_> = all.into_iter().filter(|named| is_here(&named.host)).collect();
        if rig.hosts.is_empty() || here.is_empty() {
            let text = format!("no device of the rig is on this host, {}", self.name);
            return Err(Error::Usage(text));
        }
        let mut opening = rig.opening;
        opening.first_trigger = order.first_trigger;
        opening.end_trigger = order.triggers.map(|n| order.first_trigger.saturating_add(n));
        Ok(Plan {
            devices: rig.devices,
            wanted: Wanted::Each(here),
            opening,
            keeping: rig.keeping,
            storing: rig.storing,
            triggers: order.triggers,
            output: Output::Folder(self.folder(order)),
            depth_engine: self.depth_engine.clone(),
            force: order.force,
            is_part: true,
            hosts: rig.hosts,
            certs: None,
        })
    }

    /// The bus with the devices of this host.
    ///
    /// # Errors
    /// `Usage` when emulated devices have no cable to the other hosts'; `Device` when USB cannot be
    /// used.
    pub fn bus(&self, plan: &Plan, clock: &Clock) -> Result<Arc<dyn Bus>> {
        let Devices::Emulated { faults, .. } = &plan.devices else {
            return Ok(Arc::new(HostBus::new(clock.clone())?));
        };
        let Wanted::Each(wanted) = &plan.wanted else {
            return Err(Error::Usage("the rig lists no devices".to_owned()));
        };
        let is_here = |place: &usize| {
            let serial = emulated_serial(*place, None);
            wanted.iter().any(|named| named.serial == serial)
        };
        let here: Vec<_> = (0..faults.len()).filter(is_here).collect();
        if self.cable.is_none() && here.len() < faults.len() {
            return Err(Error::Usage(
                "the emulated devices of several hosts need a sync cable between them: start the \
                 agents with --cable FILE, the same for all, on one machine"
                    .to_owned(),
            ));
        }
        let open = if here.contains(&0) { cable::drive } else { cable::attach };
        let cable = self.cable.as_deref().map(|path| open(path, clock));
        let bus = EmulatedBus::part(faults, &here, cable.transpose()?, None, clock.clone());
        Ok(Arc::new(bus))
    }
}
