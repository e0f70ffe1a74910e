//! Flattened device trees: read, changed, and written again.
//!
//! QEMU's `raspi4b` lacks some of the hardware that the kernel's own device
//! tree of the Pi 4 names, and the kernel does not survive probing it.

use anyhow::{Context, Result, bail, ensure};

const MAGIC: u32 = 0xD00D_FEED;
const HEADER: usize = 40;
const VERSION: u32 = 17;
/// The oldest version that can read what we write.
const COMPATIBLE: u32 = 16;
/// More is no device tree of a board.
const LARGEST: usize = 4 << 20;
const DEEPEST: usize = 32;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// A device tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTree {
    root: Node,
    /// Memory that the kernel leaves alone, as it stands in the file.
    reserved: Vec<u8>,
    boot_cpu: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    name: String,
    properties: Vec<(String, Vec<u8>)>,
    children: Vec<Node>,
}

impl Node {
    fn find(&mut self, name: &str) -> Option<&mut Node> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter_mut().find_map(|child| child.find(name))
    }

    fn remove(&mut self, property: &str) {
        self.properties.retain(|(name, _)| name != property);
    }

    fn set(&mut self, property: &str, value: &[u8]) {
        match self
            .properties
            .iter_mut()
            .find(|(name, _)| name == property)
        {
            Some((_, old)) => *old = value.to_vec(),
            None => self.properties.push((property.to_owned(), value.to_vec())),
        }
    }
}

impl DeviceTree {
    /// Reads a compiled device tree.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        parse(bytes).context("the device tree is damaged")
    }

    /// Marks the first node of a name as absent. A tree without such a node
    /// stays as it is.
    pub fn disable(&mut self, node: &str) {
        if let Some(node) = self.root.find(node) {
            node.set("status", b"disabled\0");
        }
    }

    /// Removes a property of the first node of a name.
    pub fn delete_property(&mut self, node: &str, property: &str) {
        if let Some(node) = self.root.find(node) {
            node.remove(property);
        }
    }

    /// Removes the nodes of a name directly below the first node of another.
    pub fn delete_node(&mut self, parent: &str, node: &str) {
        if let Some(parent) = self.root.find(parent) {
            parent.children.retain(|child| child.name != node);
        }
    }

    /// The compiled form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.node(&self.root);
        writer.word(END);
        let reserved_at = HEADER;
        let structure_at = reserved_at + self.reserved.len();
        let strings_at = structure_at + writer.structure.len();
        let total = strings_at + writer.strings.len();
        let mut bytes = Vec::with_capacity(total);
        for word in [
            MAGIC,
            total as u32,
            structure_at as u32,
            strings_at as u32,
            reserved_at as u32,
            VERSION,
            COMPATIBLE,
            self.boot_cpu,
            writer.strings.len() as u32,
            writer.structure.len() as u32,
        ] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes.extend_from_slice(&self.reserved);
        bytes.extend_from_slice(&writer.structure);
        bytes.extend_from_slice(&writer.strings);
        bytes
    }
}

#[derive(Default)]
struct Writer {
    structure: Vec<u8>,
    strings: Vec<u8>,
    offsets: std::collections::BTreeMap<String, u32>,
}

impl Writer {
    fn word(&mut self, word: u32) {
        self.structure.extend_from_slice(&word.to_be_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.structure.extend_from_slice(bytes);
        let length = self.structure.len().next_multiple_of(4);
        self.structure.resize(length, 0);
    }

    fn node(&mut self, node: &Node) {
        self.word(BEGIN_NODE);
        self.padded(&[node.name.as_bytes(), b"\0"].concat());
        for (name, value) in &node.properties {
            let offset = match self.offsets.get(name) {
                Some(offset) => *offset,
                None => {
                    let offset = self.strings.len() as u32;
                    self.strings.extend_from_slice(name.as_bytes());
                    self.strings.push(0);
                    self.offsets.insert(name.clone(), offset);
                    offset
                }
            };
            self.word(PROPERTY);
            self.word(value.len() as u32);
            self.word(offset);
            self.padded(value);
        }
        for child in &node.children {
            self.node(child);
        }
        self.word(END_NODE);
    }
}

fn parse(bytes: &[u8]) -> Result<DeviceTree> {
    ensure!(bytes.len() <= LARGEST, "it has {} bytes", bytes.len());
    ensure!(word(bytes, 0)? == MAGIC, "it does not begin like one");
    let field = |index: usize| word(bytes, index * 4).map(|value| value as usize);
    let total = field(1)?;
    let bytes = bytes.get(..total).context("it is cut off")?;
    ensure!(
        field(6)? <= VERSION as usize && field(5)? >= COMPATIBLE as usize,
        "its format is not known"
    );
    let strings = slice(bytes, field(3)?, field(8)?)?;
    let structure = slice(bytes, field(2)?, field(9)?)?;
    let reserved = reserved(bytes, field(4)?)?;
    Ok(DeviceTree {
        root: Reader {
            structure,
            strings,
            at: 0,
        }
        .tree()?,
        reserved,
        boot_cpu: word(bytes, 28)?,
    })
}

fn slice(bytes: &[u8], start: usize, length: usize) -> Result<&[u8]> {
    start
        .checked_add(length)
        .and_then(|end| bytes.get(start..end))
        .context("a part of it lies outside")
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let part = slice(bytes, at, 4)?;
    Ok(u32::from_be_bytes([part[0], part[1], part[2], part[3]]))
}

/// The list of pairs that ends with a pair of zeros.
fn reserved(bytes: &[u8], start: usize) -> Result<Vec<u8>> {
    let mut at = start;
    loop {
        let pair = slice(bytes, at, 16)?;
        at += 16;
        if pair.iter().all(|byte| *byte == 0) {
            return Ok(bytes[start..at].to_vec());
        }
    }
}

struct Reader<'b> {
    structure: &'b [u8],
    strings: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn tree(mut self) -> Result<Node> {
        // Nodes that are open, from the root down.
        let mut open: Vec<Node> = Vec::new();
        loop {
            match self.word()? {
                NOP => {}
                BEGIN_NODE => {
                    ensure!(open.len() < DEEPEST, "its nodes are nested too deep");
                    let name = text(self.structure, self.at)?;
                    self.skip(name.len() + 1)?;
                    open.push(Node {
                        name,
                        ..Node::default()
                    });
                }
                PROPERTY => {
                    let length = self.word()? as usize;
                    let name = text(self.strings, self.word()? as usize)?;
                    let value = slice(self.structure, self.at, length)?.to_vec();
                    self.skip(length)?;
                    let node = open.last_mut().context("a property is in no node")?;
                    node.properties.push((name, value));
                }
                END_NODE => {
                    let node = open.pop().context("a node ends that did not begin")?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(node),
                        None => return Ok(node),
                    }
                }
                other => bail!("it has an unknown token {other}"),
            }
        }
    }

    fn word(&mut self) -> Result<u32> {
        let word = word(self.structure, self.at)?;
        self.at += 4;
        Ok(word)
    }

    fn skip(&mut self, length: usize) -> Result<()> {
        slice(self.structure, self.at, length)?;
        self.at = (self.at + length).next_multiple_of(4);
        Ok(())
    }
}

/// The text at a position, up to its zero.
fn text(bytes: &[u8], at: usize) -> Result<String> {
    let bytes = bytes.get(at..).context("a name lies outside")?;
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .context("a name does not end")?;
    String::from_utf8(bytes[..end].to_vec()).context("a name is not text")
}

/// Makes the device tree of a Pi 4 fit QEMU's `raspi4b`.
///
/// # Errors
/// When it is damaged.
pub fn for_raspi4b(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut tree = DeviceTree::parse(bytes)?;
    // Registers that QEMU does not have; the kernel dies when it reads them.
    tree.disable("clock@7ef00000");
    tree.disable("interrupt-controller@7ef00100");
    tree.disable("i2c@7ef04500");
    tree.disable("i2c@7ef09500");
    // The card of a real Pi 4 is on emmc2, QEMU's is where Wi-Fi is.
    tree.disable("mmc@7e340000");
    let card = "mmc@7e300000";
    for property in ["mmc-pwrseq", "non-removable", "pinctrl-0", "pinctrl-names"] {
        tree.delete_property(card, property);
    }
    tree.delete_node(card, "wifi@1");
    // Its interrupt never ends once it is the console.
    tree.disable("serial@7e215040");
    free_serial_port(&mut tree);
    Ok(tree.to_bytes())
}

/// Makes the device tree of a Pi 3 fit QEMU's `raspi3b`.
///
/// # Errors
/// When it is damaged.
pub fn for_raspi3b(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut tree = DeviceTree::parse(bytes)?;
    free_serial_port(&mut tree);
    Ok(tree.to_bytes())
}

/// On the boards the large UART belongs to Bluetooth, which takes the terminal
/// away from it; in QEMU it is the console.
fn free_serial_port(tree: &mut DeviceTree) {
    tree.delete_node("serial@7e201000", "bluetooth");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, properties: &[(&str, &[u8])], children: Vec<Node>) -> Node {
        Node {
            name: name.to_owned(),
            properties: properties
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
                .collect(),
            children,
        }
    }

    fn board() -> DeviceTree {
        let wifi = node("wifi@1", &[("reg", &[0, 0, 0, 1])], vec![]);
        let card = node(
            "mmc@7e300000",
            &[
                ("compatible", b"brcm,bcm2835-mmc\0"),
                ("non-removable", b""),
                ("pinctrl-0", &[0, 0, 0, 9]),
                ("status", b"okay\0"),
            ],
            vec![wifi],
        );
        let i2c = node("i2c@7ef04500", &[("reg", &[1, 2, 3, 4, 5])], vec![]);
        let emmc2 = node("mmc@7e340000", &[("status", b"okay\0")], vec![]);
        DeviceTree {
            root: node(
                "",
                &[("model", b"Test\0")],
                vec![
                    node("soc", &[], vec![card, i2c]),
                    node("emmc2bus", &[], vec![emmc2]),
                ],
            ),
            reserved: [[0; 8], [0, 0, 0, 0, 0, 0, 16, 0], [0; 8], [0; 8]].concat(),
            boot_cpu: 3,
        }
    }

    #[test]
    fn a_tree_survives_the_round_trip() {
        let bytes = board().to_bytes();
        assert_eq!(DeviceTree::parse(&bytes).unwrap(), board());
    }

    #[test]
    fn the_card_of_raspi4b_is_where_qemu_has_it() {
        let bytes = for_raspi4b(&board().to_bytes()).unwrap();
        let mut tree = DeviceTree::parse(&bytes).unwrap();
        let card = tree.root.find("mmc@7e300000").unwrap();
        assert!(card.children.is_empty());
        let names: Vec<_> = card
            .properties
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["compatible", "status"]);
        for absent in ["i2c@7ef04500", "mmc@7e340000"] {
            let node = tree.root.find(absent).unwrap();
            assert!(
                node.properties
                    .contains(&("status".into(), b"disabled\0".to_vec()))
            );
        }
        let model = tree.root.properties;
        assert_eq!(model, [("model".to_owned(), b"Test\0".to_vec())]);
    }

    #[test]
    fn damage_anywhere_is_an_error_or_another_tree_but_never_a_panic() {
        let bytes = board().to_bytes();
        for length in 0..bytes.len() {
            assert!(DeviceTree::parse(&bytes[..length]).is_err(), "{length}");
        }
        for position in 0..bytes.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[position] = value;
                let _ = DeviceTree::parse(&damaged);
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let mut root = Node::default();
        for _ in 0..DEEPEST {
            root = node("n", &[], vec![root]);
        }
        let tree = DeviceTree { root, ..board() };
        let error = DeviceTree::parse(&tree.to_bytes()).unwrap_err();
        assert!(format!("{error:#}").contains("too deep"), "{error:#}");
    }
}
