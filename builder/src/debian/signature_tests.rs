use pgp::{
    composed::{
        ArmorOptions, EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedSecretKey,
        SubkeyParamsBuilder,
    },
    packet::{SignatureConfig, Subpacket},
    types::{Duration, Password, SigningKey, Timestamp},
};
use rand::thread_rng;

use super::*;

const TEXT: &str = "Codename: trixie\n- dashed\nlast\n";
const DAY: u32 = 24 * 60 * 60;

fn now() -> u64 {
    u64::from(Timestamp::now().as_secs())
}

fn long_ago() -> Timestamp {
    Timestamp::from_secs(Timestamp::now().as_secs() - 1000 * DAY)
}

/// A key made long ago, with a signing subkey.
fn key() -> SignedSecretKey {
    let subkey = SubkeyParamsBuilder::default()
        .key_type(KeyType::Ed25519Legacy)
        .can_sign(true)
        .can_encrypt(EncryptionCaps::None)
        .created_at(long_ago())
        .build()
        .unwrap();
    let mut key = SecretKeyParamsBuilder::default();
    key.key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .created_at(long_ago())
        .primary_user_id("Archive <archive@example.org>".into())
        .subkey(subkey);
    key.build().unwrap().generate(thread_rng()).unwrap()
}

fn public(key: &SignedSecretKey) -> SignedPublicKey {
    SignedPublicKey::from(key.clone())
}

fn ring(keys: impl IntoIterator<Item = SignedPublicKey>) -> Keyring {
    let armored: Vec<String> = keys
        .into_iter()
        .map(|key| key.to_armored_string(ArmorOptions::default()).unwrap())
        .collect();
    Keyring::parse(&armored.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
}

fn sign(key: &impl SigningKey) -> String {
    CleartextSignedMessage::sign(thread_rng(), TEXT, key, &Password::empty())
        .unwrap()
        .to_armored_string(ArmorOptions::default())
        .unwrap()
}

/// Signs with the given hash and further statements.
fn sign_with(key: &impl SigningKey, hash: HashAlgorithm, more: Vec<SubpacketData>) -> String {
    let config = config(key, SignatureType::Text, hash, more);
    CleartextSignedMessage::new(TEXT, config, key, &Password::empty())
        .unwrap()
        .to_armored_string(ArmorOptions::default())
        .unwrap()
}

fn config(
    key: &impl SigningKey,
    kind: SignatureType,
    hash: HashAlgorithm,
    more: Vec<SubpacketData>,
) -> SignatureConfig {
    let mut config = SignatureConfig::from_key(thread_rng(), key, kind).unwrap();
    config.hash_alg = hash;
    let issuer = SubpacketData::IssuerFingerprint(key.fingerprint());
    config.hashed_subpackets = [issuer]
        .into_iter()
        .chain(more)
        .map(|data| Subpacket::regular(data).unwrap())
        .collect();
    config
}

fn made_at(seconds: u64) -> SubpacketData {
    SubpacketData::SignatureCreationTime(Timestamp::from_secs(seconds as u32))
}

fn lasting(days: u32) -> Duration {
    Duration::try_from(std::time::Duration::from_secs(u64::from(days * DAY))).unwrap()
}

/// The same key with a newer self-signature that says more about it.
fn restated(key: &SignedSecretKey, more: Vec<SubpacketData>) -> SignedPublicKey {
    let mut public = public(key);
    let more = [vec![made_at(now())], more].concat();
    let id = &mut public.details.users[0];
    let signature = config(
        &key.primary_key,
        SignatureType::CertPositive,
        HashAlgorithm::Sha256,
        more,
    )
    .sign_certification(
        &key.primary_key,
        key.primary_key.public_key(),
        &Password::empty(),
        Tag::UserId,
        &id.id,
    )
    .unwrap();
    id.signatures = vec![signature];
    public
}

#[test]
fn a_text_signed_by_a_trusted_key_or_its_subkey_is_returned_as_it_was() {
    let key = key();
    let ring = ring([public(&key)]);
    let subkey = &key.secret_subkeys[0].key;
    assert_eq!(ring.verify(&sign(&key.primary_key), now()).unwrap(), TEXT);
    assert_eq!(ring.verify(&sign(subkey), now()).unwrap(), TEXT);
}

#[test]
fn one_good_signature_among_several_is_enough() {
    let (stranger, known) = (key(), key());
    let message = CleartextSignedMessage::new_many(TEXT, |text| {
        [&stranger, &known]
            .into_iter()
            .map(|key| {
                config(
                    &key.primary_key,
                    SignatureType::Text,
                    HashAlgorithm::Sha256,
                    vec![made_at(now())],
                )
                .sign(&key.primary_key, &Password::empty(), text.as_bytes())
            })
            .collect()
    })
    .unwrap()
    .to_armored_string(ArmorOptions::default())
    .unwrap();
    assert!(ring([public(&known)]).verify(&message, now()).is_ok());
}

#[test]
fn a_changed_text_is_broken() {
    let key = key();
    let message = sign(&key.primary_key).replace("trixie", "trixiE");
    let error = ring([public(&key)]).verify(&message, now()).unwrap_err();
    assert!(matches!(error, SignatureError::Broken(_)), "{error}");
}

#[test]
fn an_unknown_key_is_named() {
    let stranger = key();
    let error = ring([public(&key())])
        .verify(&sign(&stranger.primary_key), now())
        .unwrap_err();
    let id = stranger.legacy_key_id().to_string().to_uppercase();
    assert_eq!(error, SignatureError::UnknownKey(id));
}

#[test]
fn text_around_the_signed_part_is_refused() {
    let key = key();
    let ring = ring([public(&key)]);
    let message = sign(&key.primary_key);
    for bad in [
        format!("Codename: evil\n{message}"),
        format!("{message}\nCodename: evil\n"),
        message.replace("Hash: ", "Codename: evil\nHash: "),
        TEXT.to_owned(),
        String::new(),
        message[..message.len() / 2].to_owned(),
    ] {
        let error = ring.verify(&bad, now()).unwrap_err();
        assert!(
            matches!(error, SignatureError::Malformed(_)),
            "{error}\n{bad}"
        );
    }
}

#[test]
fn an_expired_key_is_refused_whichever_part_expired() {
    let key = key();
    let mut flags = pgp::packet::KeyFlags::default();
    flags.set_sign(true);
    let short = SubpacketData::KeyExpirationTime(lasting(999));
    let long = SubpacketData::KeyExpirationTime(lasting(1001));
    let flags = SubpacketData::KeyFlags(flags);
    let subkey = &key.secret_subkeys[0].key;

    let expired = ring([restated(&key, vec![short.clone(), flags.clone()])]);
    for message in [sign(&key.primary_key), sign(subkey)] {
        let error = expired.verify(&message, now()).unwrap_err();
        assert!(
            matches!(error, SignatureError::ExpiredKey { .. }),
            "{error}"
        );
    }
    let valid = ring([restated(&key, vec![long, flags.clone()])]);
    assert!(valid.verify(&sign(&key.primary_key), now()).is_ok());

    let mut public = public(&key);
    let back = public.public_subkeys[0].signatures[0]
        .embedded_signature()
        .unwrap()
        .clone();
    public.public_subkeys[0].signatures = vec![
        config(
            &key.primary_key,
            SignatureType::SubkeyBinding,
            HashAlgorithm::Sha256,
            vec![
                made_at(now()),
                short,
                flags,
                SubpacketData::EmbeddedSignature(Box::new(back)),
            ],
        )
        .sign_subkey_binding(
            &key.primary_key,
            key.primary_key.public_key(),
            &Password::empty(),
            subkey.public_key(),
        )
        .unwrap(),
    ];
    let ring = ring([public]);
    assert!(ring.verify(&sign(&key.primary_key), now()).is_ok());
    let error = ring.verify(&sign(subkey), now()).unwrap_err();
    assert!(
        matches!(error, SignatureError::ExpiredKey { .. }),
        "{error}"
    );
}

#[test]
fn a_revoked_key_is_refused() {
    let key = key();
    let mut revoked = public(&key);
    let revocation = config(
        &key.primary_key,
        SignatureType::KeyRevocation,
        HashAlgorithm::Sha256,
        vec![made_at(now())],
    )
    .sign_key(
        &key.primary_key,
        &Password::empty(),
        key.primary_key.public_key(),
    )
    .unwrap();
    revoked.details.revocation_signatures.push(revocation);
    let ring = ring([revoked]);
    for message in [sign(&key.primary_key), sign(&key.secret_subkeys[0].key)] {
        let error = ring.verify(&message, now()).unwrap_err();
        assert!(matches!(error, SignatureError::Revoked(_)), "{error}");
    }
}

#[test]
fn a_subkey_that_the_primary_key_does_not_vouch_for_is_refused() {
    let (key, thief) = (key(), key());
    // Someone else's subkey, with someone else's binding, under a trusted key.
    let mut public = public(&key);
    public.public_subkeys = SignedPublicKey::from(thief.clone()).public_subkeys;
    let error = ring([public])
        .verify(&sign(&thief.secret_subkeys[0].key), now())
        .unwrap_err();
    assert!(matches!(error, SignatureError::NotForSigning(_)), "{error}");
}

#[test]
fn a_key_that_may_not_sign_is_refused() {
    let key = key();
    let mut flags = pgp::packet::KeyFlags::default();
    flags.set_certify(true);
    let error = ring([restated(&key, vec![SubpacketData::KeyFlags(flags)])])
        .verify(&sign(&key.primary_key), now())
        .unwrap_err();
    assert!(matches!(error, SignatureError::NotForSigning(_)), "{error}");
}

#[test]
fn a_weak_hash_is_refused() {
    // RSA, since the library itself refuses such hashes for newer algorithms.
    let mut key = SecretKeyParamsBuilder::default();
    key.key_type(KeyType::Rsa(2048))
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Archive <archive@example.org>".into());
    let key = key.build().unwrap().generate(thread_rng()).unwrap();
    let message = sign_with(&key.primary_key, HashAlgorithm::Sha1, vec![made_at(now())]);
    let error = ring([public(&key)]).verify(&message, now()).unwrap_err();
    assert!(matches!(error, SignatureError::WeakHash { .. }), "{error}");
}

#[test]
fn a_signature_holds_only_in_its_time() {
    let key = key();
    let ring = ring([public(&key)]);
    let yesterday = now() - u64::from(DAY);
    let lasts = SubpacketData::SignatureExpirationTime(lasting(1));
    let message = sign_with(
        &key.primary_key,
        HashAlgorithm::Sha256,
        vec![made_at(yesterday), lasts],
    );
    assert!(ring.verify(&message, yesterday + 5).is_ok());
    let error = ring.verify(&message, now()).unwrap_err();
    assert!(
        matches!(error, SignatureError::ExpiredSignature { .. }),
        "{error}"
    );
    let error = ring
        .verify(&message, yesterday - u64::from(DAY))
        .unwrap_err();
    assert!(matches!(error, SignatureError::Future { .. }), "{error}");
}

#[test]
fn debians_keys_are_the_ones_that_the_readme_names() {
    let readme = include_str!("../../keys/README.md").replace(' ', "");
    let ring = Keyring::debian().unwrap();
    assert_eq!(ring.keys.len(), 4);
    for key in &ring.keys {
        let fingerprint = key.fingerprint().to_string().to_uppercase();
        assert!(readme.contains(&fingerprint), "{fingerprint}");
        for signer in ring.signers() {
            signer.check_validity(now()).unwrap();
        }
    }
}
