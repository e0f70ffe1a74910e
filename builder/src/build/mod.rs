/// x
pub mod record;
