//! What the machine says of its USB: controllers, device nodes, memory for transfers. Read below a
//! root folder, so that tests can show another machine.

use crate::rig::Finding;
use rustix::fs::{Access, access};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The vendor of Azure Kinects, and their depth and color cameras (usb-protocol.md 1.1).
const VENDOR: &str = "045e";
const CAMERAS: [&str; 2] = ["097c", "097d"];

/// Makers of USB controllers by PCI vendor id.
const MAKERS: [(&str, &str); 7] = [
    ("0x8086", "Intel"),
    ("0x1022", "AMD"),
    ("0x104c", "TI"),
    ("0x1912", "Renesas"),
    ("0x1033", "NEC"),
    ("0x1106", "VIA"),
    ("0x1b21", "ASMedia"),
];

/// The udev rule that lets everybody use a camera (usb-protocol.md 1.7).
const UDEV_RULE: &str =
    r#"SUBSYSTEM=="usb", ATTR{idVendor}=="045e", ATTR{idProduct}=="097[a-e]", MODE="0666""#;

/// A machine.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

/// The device node of a camera's half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its camera's serial number, or what the kernel calls it.
    pub name: String,
    /// Where it is, e.g. `/dev/bus/usb/002/005`.
    pub path: PathBuf,
    /// Why this user cannot read and write it.
    pub refusal: Option<ErrorKind>,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn machine() -> Self {
        Self::below(Path::new("/"))
    }

    /// A machine whose `/sys` and `/dev` are below `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The controller of a bus, by maker and PCI address. The two buses of one controller, USB 2
    /// and USB 3, are the same device.
    #[must_use]
    pub fn controller(&self, bus: u8) -> String {
        let hub = self.root.join(format!("sys/bus/usb/devices/usb{bus}"));
        let device = fs::canonicalize(hub).ok().and_then(|hub| hub.parent().map(Path::to_owned));
        let Some(device) = device else {
            return format!("bus {bus}");
        };
        let address = device.file_name().unwrap_or_default().to_string_lossy();
        let vendor = word(&device.join("vendor")).unwrap_or_default();
        match MAKERS.iter().find(|(id, _)| *id == vendor) {
            Some((_, maker)) => format!("{maker} controller {address}"),
            None => format!("controller {address}"),
        }
    }

    /// Megabytes that the kernel lends to USB programs; 0 is no limit.
    #[must_use]
    pub fn usbfs_memory_mb(&self) -> Option<u64> {
        word(&self.root.join("sys/module/usbcore/parameters/usbfs_memory_mb"))?.parse().ok()
    }

    /// The device nodes of the cameras that are plugged in, found without opening them.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        let entries = fs::read_dir(self.root.join("sys/bus/usb/devices"));
        let mut nodes: Vec<_> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| self.node(&entry.path()))
            .collect();
        nodes.sort_by(|a, b| a.path.cmp(&b.path));
        nodes
    }

    fn node(&self, device: &Path) -> Option<Node> {
        let attribute = |name: &str| word(&device.join(name));
        let product = attribute("idProduct")?;
        if attribute("idVendor")? != VENDOR || !CAMERAS.contains(&product.as_str()) {
            return None;
        }
        let number = |name: &str| attribute(name)?.parse::<u16>().ok();
        let (bus, address) = (number("busnum")?, number("devnum")?);
        let kernel_name = || device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = format!("dev/bus/usb/{bus:03}/{address:03}");
        let refused = access(self.root.join(&path), Access::READ_OK | Access::WRITE_OK).err();
        Some(Node {
            name: attribute("serial").unwrap_or_else(kernel_name),
            path: Path::new("/").join(path),
            refusal: refused.map(|errno| errno.kind()),
        })
    }
}

/// The text of a file of `/sys`, trimmed.
fn word(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Whether this user may use the cameras.
#[must_use]
pub fn permissions(nodes: &[Node]) -> Vec<Finding> {
    let finding = |node: &Node| {
        let path = node.path.display();
        let (what, fix) = match node.refusal? {
            ErrorKind::NotFound => (
                format!("the kernel sees it, but {path} is not there"),
                "give the container the folder /dev/bus/usb, or start udev".to_owned(),
            ),
            _ => (
                format!("this user may not read and write {path}"),
                format!(
                    "write the line `{UDEV_RULE}` to /etc/udev/rules.d/99-genlock.rules, run `sudo \
                     udevadm control --reload`, and plug it in again"
                ),
            ),
        };
        Some(Finding::error(&node.name, what, fix))
    };
    let findings: Vec<_> = nodes.iter().filter_map(finding).collect();
    if findings.is_empty() && !nodes.is_empty() {
        return vec![Finding::good("USB", "this user may use the cameras")];
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Severity;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A machine with an Intel controller of two buses and a camera on the second.
    fn machine() -> (TempDir, Host) {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        let pci = "sys/devices/pci0000:00/0000:00:14.0";
        write(&format!("{pci}/vendor"), "0x8086\n");
        for bus in ["usb1", "usb2"] {
            write(&format!("{pci}/{bus}/idVendor"), "1d6b\n");
            write(&format!("{pci}/{bus}/idProduct"), "0003\n");
        }
        write("sys/devices/platform/xhci-hcd.0/usb3/idVendor", "1d6b\n");
        for (name, product, address) in
            [("2-1.1", "097d", "4"), ("2-1.2", "097c", "5"), ("2-1", "097a", "3")]
        {
            let device = format!("{pci}/usb2/{name}");
            write(&format!("{device}/idVendor"), "045e\n");
            write(&format!("{device}/idProduct"), product);
            write(&format!("{device}/busnum"), "2\n");
            write(&format!("{device}/devnum"), address);
        }
        write(&format!("{pci}/usb2/2-1.2/serial"), "000123201312\n");
        write("sys/module/usbcore/parameters/usbfs_memory_mb", "16\n");
        let buses = folder.path().join("sys/bus/usb/devices");
        fs::create_dir_all(&buses).expect("a folder");
        for (name, to) in [
            ("usb1", "pci0000:00/0000:00:14.0/usb1"),
            ("usb2", "pci0000:00/0000:00:14.0/usb2"),
            ("usb3", "platform/xhci-hcd.0/usb3"),
            ("2-1", "pci0000:00/0000:00:14.0/usb2/2-1"),
            ("2-1.1", "pci0000:00/0000:00:14.0/usb2/2-1.1"),
            ("2-1.2", "pci0000:00/0000:00:14.0/usb2/2-1.2"),
        ] {
            let to = Path::new("../../../devices").join(to);
            symlink(to, buses.join(name)).expect("a link");
        }
        write("dev/bus/usb/002/004", "");
        let host = Host::below(folder.path());
        (folder, host)
    }

    #[test]
    fn both_buses_of_a_controller_are_one_controller() {
        let (_keep, host) = machine();
        assert_eq!(host.controller(1), "Intel controller 0000:00:14.0");
        assert_eq!(host.controller(2), host.controller(1));
        assert_eq!(host.controller(3), "controller xhci-hcd.0");
        assert_eq!(host.controller(9), "bus 9");
    }

    #[test]
    fn memory_for_transfers_is_read() {
        let (keep, host) = machine();
        assert_eq!(host.usbfs_memory_mb(), Some(16));
        assert_eq!(Host::below(&keep.path().join("none")).usbfs_memory_mb(), None);
    }

    #[test]
    fn cameras_are_found_with_what_their_nodes_refuse() {
        let (keep, host) = machine();
        let node = |name: &str, address, refusal| Node {
            name: name.to_owned(),
            path: PathBuf::from(format!("/dev/bus/usb/002/{address}")),
            refusal,
        };
        let missing = Some(ErrorKind::NotFound);
        let expected = [node("2-1.1", "004", None), node("000123201312", "005", missing)];
        assert_eq!(host.nodes(), expected);
        assert_eq!(Host::below(&keep.path().join("none")).nodes(), []);
    }

    #[test]
    fn the_rule_that_is_advised_is_the_rule_that_is_shipped() {
        let shipped = include_str!("../../tools/udev/99-genlock.rules");
        assert!(shipped.lines().any(|line| line == UDEV_RULE), "{UDEV_RULE} is not in {shipped}");
    }

    #[test]
    fn a_node_that_refuses_has_a_fix() {
        let node = |refusal| Node {
            name: "000123201312".to_owned(),
            path: PathBuf::from("/dev/bus/usb/002/005"),
            refusal,
        };
        let text = |refusal| {
            let findings = permissions(&[node(None), node(Some(refusal))]);
            let [finding] = &findings[..] else { panic!("one finding: {findings:?}") };
            assert_eq!(finding.severity, Severity::Error);
            finding.to_string()
        };
        let denied = text(ErrorKind::PermissionDenied);
        for word in ["000123201312", "/dev/bus/usb/002/005", "097[a-e]", "045e", "udevadm"] {
            assert!(denied.contains(word), "{denied:?} lacks {word:?}");
        }
        assert!(text(ErrorKind::NotFound).contains("container"));
        assert_eq!(permissions(&[node(None)])[0].severity, Severity::Good);
        assert_eq!(permissions(&[]), []);
    }
}
