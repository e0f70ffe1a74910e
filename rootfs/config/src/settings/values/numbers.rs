//! Numbers with bounds, addresses with a prefix, and values of kernel
//! parameters.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A whole number within bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u32")]
pub struct Within<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Within<MIN, MAX> {
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn known(number: u32) -> Self {
        assert!(number >= MIN && number <= MAX);
        Self(number)
    }
}

impl<const MIN: u32, const MAX: u32> TryFrom<i64> for Within<MIN, MAX> {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        u32::try_from(number)
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| format!("{number} is out of range; use {MIN} to {MAX}"))
    }
}

impl<const MIN: u32, const MAX: u32> From<Within<MIN, MAX>> for u32 {
    fn from(value: Within<MIN, MAX>) -> u32 {
        value.0
    }
}

#[cfg(feature = "schema")]
impl<const MIN: u32, const MAX: u32> schemars::JsonSchema for Within<MIN, MAX> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("From{MIN}To{MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// An address and the length of its network: `192.168.1.5/24`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    text: String,
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of the network, in bits.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether another address is in the network.
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.prefix);
                let differ = u64::from(a.to_bits() ^ b.to_bits());
                differ >> shift == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differ = a.to_bits() ^ b.to_bits();
                let shift = 128 - u32::from(self.prefix);
                differ.checked_shr(shift).unwrap_or_default() == 0
            }
            _ => false,
        }
    }
}

/// Address and length, when a text is both.
pub(super) fn split_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let digits = prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix = prefix.parse().ok().filter(|&it| digits && it <= most)?;
    Some((address, prefix))
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (address, prefix) = split_cidr(&text).ok_or_else(|| {
            format!(
                "{text:?} is not an address with the length of its network; \
                 write it as in \"192.168.1.5/24\""
            )
        })?;
        Ok(Self {
            text,
            address,
            prefix,
        })
    }
}

impl From<Cidr> for String {
    fn from(value: Cidr) -> String {
        value.text
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Cidr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "address/length" })
    }
}

/// The value of a kernel parameter: text, or a number as people write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "String")]
pub struct SysctlValue(String);

/// How a value may be written.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(i64),
    Text(String),
}

impl SysctlValue {
    /// What goes into the file below `/proc/sys`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<NumberOrText> for SysctlValue {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        match value {
            NumberOrText::Number(number) => Ok(Self(number.to_string())),
            NumberOrText::Text(text) => {
                if text.is_empty() || text.len() > 1024 || text.contains(char::is_control) {
                    return Err(format!(
                        "{text:?} is not a value of a kernel parameter; give one line"
                    ));
                }
                Ok(Self(text))
            }
        }
    }
}

impl From<SysctlValue> for String {
    fn from(value: SysctlValue) -> String {
        value.0
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SysctlValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SysctlValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}
