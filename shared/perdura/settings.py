"""Settings: every one an environment variable `PERDURA_<NAME>`; `docs/settings.md` lists them, a test compares."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(ge=0)]


class Settings(BaseSettings):
    """Configuration of one process. Unset values take the defaults of a single machine."""

    model_config = SettingsConfigDict(env_prefix="PERDURA_", extra="ignore", frozen=True, populate_by_name=True)

    database_url: SecretStr = Field(
        SecretStr("postgresql+pg8000://perdura@127.0.0.1/perdura"),
        description="SQLAlchemy URL of the PostgreSQL database.",
    )
    database_owner_url: SecretStr | None = Field(
        None,
        description="URL that migrations use: of the owner of the tables, past any pooler. Default: database_url.",
    )
    database_pool_size: int = Field(10, ge=2, description="Connections that one process may hold.")
    database_statement_timeout: Seconds = Field(
        60, description="Seconds of silence of the database after which a statement is given up."
    )

    s3_endpoint: str | None = Field(None, description="URL of the object store; unset means AWS.")
    s3_access_key: str | None = Field(None, description="Access key of the object store.")
    s3_secret_key: SecretStr | None = Field(None, description="Secret key of the object store.")
    s3_region: str = Field("us-east-1", description="Region of the object store.")
    s3_ca: str | None = Field(None, description="PEM file of the authorities that vouch for an https object store.")
    s3_checksums: str = Field(
        "when_required",
        pattern="^(when_required|when_supported)$",
        description="when_supported sends a CRC with every upload; many stores refuse its trailer over https.",
    )
    s3_public_endpoint: str | None = Field(
        None,
        description="URL of the store as depositors reach it; presigned URLs carry it. Default: s3_endpoint.",
    )
    s3_notification_token: SecretStr | None = Field(
        None, description="Bearer token that storage notifications to `ingest` must carry; unset refuses all."
    )
    bucket_incoming: str = Field("perdura-incoming", description="Drop zone: what is put here is ingested.")
    bucket_sips: str = Field("perdura-sips", description="Bucket of submission packages.")
    bucket_aips: str = Field("perdura-aips", description="Bucket of archival packages (versions, Object Lock).")
    bucket_dips: str = Field("perdura-dips", description="Bucket of dissemination packages.")
    bucket_log: str = Field("perdura-log", description="Bucket of sealed log checkpoints (Object Lock).")

    base_url: str = Field("http://127.0.0.1:8080", description="Public URL of the registry (API and web).")
    access_url: str = Field("http://127.0.0.1:8081", description="Public URL of the access pages.")
    premis_url: str = Field("http://127.0.0.1:8082", description="Public URL of the PREMIS log.")
    admin_token: SecretStr | None = Field(
        None, description="Administrator's bearer token; unset disables it, and so does oidc_issuer."
    )

    takes_events: bool = Field(
        True, description="Whether CloudEvents are taken at `/`; false for a function that strangers can reach."
    )
    events_token: SecretStr | None = Field(
        None,
        description="Bearer token without which no CloudEvent is taken at `/`, where strangers reach that (OpenFaaS); "
        "unset: all are. Several are separated by blanks: all are taken, brokers send the first.",
    )
    invocation_seconds: Seconds = Field(540, description="Time budget of one invocation (at most 10 minutes).")
    retry_limit: int = Field(
        20,
        ge=1,
        description="Runs in a row that may end in the same passing failure before a person is asked.",
    )
    retry_seconds: Seconds = Field(
        86_400, description="How long the same failure must have lasted, too, before a person is asked."
    )
    archives_in_work: int = Field(
        0,
        ge=0,
        description="Archives that are worked on at once; others wait for their turn, people's deposits before "
        "batches, Collections and Sources in turn. 0: no limit.",
    )
    sweep_seconds: Seconds = Field(30, description="How often the drop zone is compared with the registry.")
    audit_days: float = Field(
        180, ge=0, description="Days after which an AIP in the store is read again and compared; 0: never by itself."
    )
    audits_at_once: int = Field(4, ge=1, le=1000, description="Such checks that are open at once.")
    tick_seconds: Seconds = Field(
        0,
        le=60,
        description="Seconds for which a tick of `relay` waits for what becomes due, where ticks come once a minute.",
    )
    keep_messages_days: float = Field(14, ge=1, description="Days for which delivered messages are remembered.")
    body_limit: int = Field(10 * 2**20, ge=2**16, description="Largest request body in bytes a function accepts.")
    emit_timeout: Seconds = Field(10, description="Seconds to wait for the broker when emitting.")

    # Accounts
    oidc_issuer: str | None = Field(
        None, description="URL of the OpenID Connect provider; everything else about it is discovered from there."
    )
    oidc_client_id: str = Field("perdura", description="Our client id at the provider.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="Our client secret at the provider; unset: a public client, protected by PKCE alone."
    )
    oidc_scopes: str = Field("openid profile email", description="Scopes asked for at sign-in.")
    oidc_name: str = Field("your institution", description="Name of the provider on the sign-in page.")
    oidc_groups_claim: str = Field(
        "groups", description="Claim that lists a person's groups; dots lead into objects: `realm_access.roles`."
    )
    oidc_roles: str = Field(
        "", description="Roles that groups give, one `role=group` a line; the group `*` is everybody who signs in."
    )
    oidc_audience: str | None = Field(
        None, description="Audience of access tokens (JWT) that service accounts send; unset refuses them."
    )
    session_hours: float = Field(12, gt=0, description="Hours after which a person has to sign in again.")
    session_idle_hours: float = Field(4, gt=0, description="Hours without use after which a session ends.")
    session_renew_minutes: float = Field(15, gt=0, description="Age at which the secret of a session is replaced.")
    token_days: int = Field(366, ge=1, description="Longest life of a personal access token in days.")
    cors_origins: str = Field(
        "", description="Origins whose pages may call the API with a token, one a word; none by default."
    )
    rate_limit: int = Field(1200, ge=0, description="Requests a minute of one caller; 0: no limit.")
    rate_limit_strangers: int = Field(
        120, ge=0, description="Refused or anonymous requests a minute of one address; 0: no limit."
    )
    proxies: int = Field(
        0, ge=0, description="Proxies in front whose X-Forwarded-For is believed, for the log and limits of addresses."
    )

    # Observation
    traces_endpoint: str | None = Field(
        None, description="URL that takes traces as OTLP over HTTP (`…/v1/traces`); unset: no traces."
    )
    traces_ratio: float = Field(1.0, ge=0, le=1, description="Share of new traces that are kept.")
    sentry_dsn: SecretStr | None = Field(None, description="DSN of a Sentry that errors are sent to; unset: none are.")

    # Packages
    verify_unit_bytes: int = Field(
        64 * 2**30, ge=1, description="Bytes of a package that one invocation verifies; larger ones are divided."
    )
    duplicate_deposits: str = Field(
        "answer",
        pattern="^(answer|keep)$",
        description="A deposit whose content is here already: answer with the Archive that has it, or keep it again.",
    )
    fetch_hosts: str = Field(
        "",
        description="Hosts, one a word, from which files are fetched that only fetch.txt of a bag names (https); "
        "empty refuses such bags.",
    )
    aip_retention_days: float = Field(
        0, ge=0, description="Days for which the object store itself refuses to delete an AIP (Object Lock); 0: none."
    )
    package_profiles: str | None = Field(
        None, description="Folder of further BagIt profiles (JSON), found by the identifier that a bag names."
    )
    package_profile: str | None = Field(
        None, description="Identifier of the BagIt profile that every SIP must satisfy; unset: the one it names."
    )
    package_limits: dict[str, int | bool] = Field(
        default_factory=dict, description="Limits of packages that are not the default (docs/packages.md), as JSON."
    )

    # Tape
    tape_fts_url: str | None = Field(
        None,
        validation_alias=AliasChoices("PERDURA_TAPE_FTS_URL", "FTS_INSTANCE"),
        description="URL of the FTS3 REST server; unset disables tape.",
    )
    tape_status_url: str | None = Field(
        None,
        validation_alias=AliasChoices("PERDURA_TAPE_STATUS_URL", "FTS_STATUS_INSTANCE"),
        description="URL of the FTS monitor, for links to jobs.",
    )
    tape_endpoint_url: str | None = Field(None, description="URL of the tape endpoint (WLCG Tape REST API).")
    tape_base_path: str = Field(
        "/perdura",
        validation_alias=AliasChoices("PERDURA_TAPE_BASE_PATH", "CTA_BASE_PATH"),
        description="Directory of our files on the tape endpoint, or its whole URL.",
    )
    tape_token: SecretStr | None = Field(None, description="Bearer token for FTS and the tape endpoint.")
    tape_certificate: str | None = Field(
        None,
        validation_alias=AliasChoices("PERDURA_TAPE_CERTIFICATE", "FTS_GRID_CERT"),
        description="PEM file of the robot certificate for FTS and the tape endpoint (RSA).",
    )
    tape_key: str | None = Field(
        None,
        validation_alias=AliasChoices("PERDURA_TAPE_KEY", "FTS_GRID_CERT_KEY"),
        description="PEM file of the certificate's key, unencrypted.",
    )
    tape_ca: str | None = Field(None, description="PEM file of the certification authorities of FTS and the endpoint.")
    tape_transport: str = Field(
        "own",
        pattern="^(own|fts3)$",
        description="How FTS is spoken to: own, or fts3 (the package of that name; extra fts3-rest).",
    )
    tape_token_url: str | None = Field(
        None,
        description="Token endpoint (OAuth 2.0): tokens for FTS and the tape endpoint by client credentials.",
    )
    tape_client_id: str | None = Field(None, description="Our client id at that issuer.")
    tape_client_secret: SecretStr | None = Field(None, description="Our client secret at that issuer.")
    tape_token_scope: str = Field("", description="Scopes to ask for, one a word.")
    tape_token_audience: str = Field("", description="Audience to ask for.")
    tape_poll_seconds: Seconds = Field(1, description="First interval between looks at a tape job; it doubles.")
    tape_poll_longest: Seconds = Field(300, description="Longest interval between looks at a tape job.")
    tape_archive_timeout: Seconds = Field(4 * 86400, gt=0, description="Seconds FTS waits for a file to reach tape.")
    tape_patience_days: float = Field(14, gt=0, description="Days a file may stay on disk before a person is asked.")
    tape_attempts: int = Field(3, ge=1, description="Copies tried for one AIP before a person is asked.")
    tape_priority: int = Field(3, ge=1, le=5, description="Priority of archive jobs, 1 to 5.")
    tape_paused: bool = Field(False, description="Submit no new archive jobs; those under way are followed.")
    tape_jobs_in_flight: int = Field(0, ge=0, description="Archive jobs that may be open at once; 0: no limit.")
    tape_group_below: int = Field(
        0, ge=0, description="AIPs of fewer bytes are put on tape together, in containers; 0 groups none."
    )
    tape_group_size: int = Field(5 * 10**9, ge=1, description="Largest container in bytes.")
    tape_group_seconds: Seconds = Field(3600, description="Seconds a small AIP waits for others to fill a container.")
    tape_drill_days: Seconds = Field(
        30, description="Days between restore drills: copies on tape are recalled and verified; 0: none."
    )
    tape_drill_copies: int = Field(3, ge=1, le=1000, description="Copies recalled in one restore drill, by chance.")
    tape_largest: int = Field(10**12, ge=1, description="Largest file in bytes that the tape system takes.")
    tape_gateway_url: str | None = Field(
        None, description="URL of the AIP gateway as FTS reaches it; see `tape_presigned` for what is without it."
    )
    tape_presigned: bool = Field(
        False,
        description="Give FTS presigned URLs of the store where no gateway is set: every member of our VO can then "
        "read them at FTS, and the AIPs by them, for days. An FTS on this machine gets them anyway.",
    )
    tape_gateway_secret: SecretStr | None = Field(None, description="Secret that signs the gateway's tokens.")
    tape_gateway_dns: str = Field("", description="Certificate names (DN) the gateway gives tokens to, one a line.")
    tape_gateway_certificate_header: str | None = Field(
        None,
        description="Header in which the TLS front end forwards the verified client certificate (PEM, URL-encoded); "
        "the front end must remove it from what clients send.",
    )
    tape_gateway_proxy: bool = Field(False, description="Stream through the gateway instead of redirecting to S3.")
    tape_recall_days: float = Field(7, gt=0, description="Days for which a recalled AIP stays in the object store.")

    # Access
    access: str | None = Field(
        None, description="TOML file of the access systems to publish on and of who is told; see docs/access.md."
    )
    access_link_secret: SecretStr | None = Field(
        None, description="Key that signs links to single files which expire; unset: there are none."
    )

    virus_scan: str = Field(
        "preferred", pattern="^(required|preferred|off)$", description="required, preferred or off."
    )
    clamd: str | None = Field(None, description="clamd address: host:port or a socket path; unset: no scanner.")

    # Preservation
    preserve_engine: str = Field(
        "builtin",
        pattern="^(builtin|archivematica|a3m)$",
        description="What makes AIPs where nothing else was asked for: builtin, archivematica or a3m.",
    )
    preserve_profile: str = Field(
        "perdura",
        pattern="^(perdura|eark)$",
        description="Layout of the built-in engine's AIPs where nothing else was asked for: perdura or eark.",
    )
    archivematica: str | None = Field(
        None, description="TOML file that describes the Archivematicas to use (docs/archivematica.md)."
    )
    archivematica_poll_seconds: Seconds = Field(
        2, description="First interval between looks at a package in an Archivematica; it doubles."
    )
    archivematica_poll_longest: Seconds = Field(
        60, description="Longest interval between looks at a package in an Archivematica."
    )
    archivematica_patience_seconds: Seconds = Field(
        3600, gt=0, description="Seconds without a sign of life for every package ahead before a person is asked."
    )
    archivematica_bytes_per_second: float = Field(
        1_000_000,
        gt=0,
        description="Speed an Archivematica is expected to have at least; large packages get more time.",
    )
    archivematica_decision_hours: float = Field(
        72, gt=0, description="Hours a package may wait for a decision in a dashboard before its step is blocked."
    )
    archivematica_failures: int = Field(
        5, ge=1, description="Failures in a row after which an Archivematica gets no new work for a while."
    )
    archivematica_pause_seconds: Seconds = Field(
        900, description="Seconds an Archivematica rests after such failures before one package is tried."
    )
    characterise: str = Field(
        "",
        description="Tools that describe files, one a line: exiftool, mediainfo, or `name [suffixes]: command {file}`.",
    )
    characterise_bytes: int = Field(
        256 * 2**20, ge=0, description="Largest file in bytes that is given to such tools, on local disk."
    )
    a3m: str | None = Field(
        None, description="Path of the program `a3m` in its own environment; unset: no such engine."
    )
    seven_zip: str | None = Field(
        None, description="Path of a 7-Zip program; with it the inside of .7z AIPs is verified too."
    )
    outsized_bytes: int = Field(
        0,
        ge=0,
        description="Bytes of a SIP above which a Job makes the AIP (infra/knative/components/outsized); 0: no Job.",
    )
    scratch_bytes: int = Field(
        4 * 2**30, ge=0, description="Bytes of local disk that one invocation may use where a tool needs files."
    )

    allow_loopback_upstreams: bool = Field(
        False, description="Let harvests reach loopback addresses (the demo's repository only)."
    )
    harvest_user_agent: str = Field("perdura (+https://example.org/perdura)", description="How we name ourselves.")
    harvest_profiles: str | None = Field(
        None, description="TOML file of further sources, or of other settings of known ones."
    )
    harvest_local_roots: str | None = Field(
        None, description="Directories below which folders may be harvested, separated by colons."
    )
    harvest_file_bytes: int = Field(
        5 * 2**40, ge=1, description="Largest file that is harvested, in bytes; S3 keeps none above 5 TiB."
    )
    harvest_bic: str | None = Field(
        None, description="Path of the program `bic` (bagit-create), for harvests that ask for it as their engine."
    )
    harvest_open: bool = Field(
        False, description="Let harvests follow landing pages of any public host by Signposting."
    )
    credential_keys: SecretStr | None = Field(
        None,
        description="Keys that encrypt credentials for sources and secrets of webhooks (base64, 32 bytes each), one a "
        "word, newest first.",
    )
    organisation: str = Field("Perdura", description="Name of the institution; agent of its events.")

    # Announcements
    announce_buckets: str = Field("", description="Buckets from which packages may be announced, one a word.")

    # Pages
    language: str | None = Field(
        None,
        pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$",
        description="Language of the pages; unset: what the browser asks for, else English.",
    )
    catalogues: Path | None = Field(
        None, description="Folder with further translations, one `<language>.po` each; see docs/translating.md."
    )

    # Notifications
    smtp_host: str | None = Field(None, description="Mail server of notifications; unset: no mail is sent.")
    smtp_port: int = Field(25, ge=1, le=65535, description="Port of the mail server.")
    smtp_starttls: bool = Field(False, description="Speak TLS with the mail server (STARTTLS).")
    smtp_user: str | None = Field(None, description="User name at the mail server.")
    smtp_password: SecretStr | None = Field(None, description="Password at the mail server.")
    mail_from: str = Field("perdura@localhost", description="Sender of notifications.")

    # PREMIS log
    premis_open_reads: bool = Field(True, description="Let anyone read the PREMIS log; False asks for a token.")
    premis_open_writes: bool = Field(
        False, description="Take events without a token, as clients of the PREMIS Event Service send them."
    )
    premis_changes: bool = Field(True, description="Let PUT and DELETE supersede events; False refuses both.")
    premis_strict: bool = Field(False, description="Refuse events and agents whose types are in no vocabulary.")
    premis_zone: str = Field("UTC", description="Time zone of event dates that are sent without an offset.")
    premis_author: str = Field("PREMIS Event Service", description="Author of the Atom feeds of events.")
    premis_hosts: str = Field("", description="Host names that may appear in links beside premis_url's, one a word.")
    premis_message: str = Field("", description="Maintenance message on top of the pages of events.")
    premis_choices: str | None = Field(None, description="JSON file with the choices of the event search forms.")
    premis_identifier_type: str = Field(
        "http://purl.org/net/untl/vocabularies/identifier-qualifiers/#UUID",
        description="Type of event identifiers that are made here.",
    )
    premis_batch_limit: int = Field(64 * 2**20, ge=2**20, description="Largest body in bytes of a batch of events.")
    log_origin: str = Field("perdura.local/log", description="Name of the log in its checkpoints; never change it.")
    log_signing_keys: SecretStr | None = Field(
        None,
        description="Ed25519 seeds (base64, 32 bytes) signing checkpoints, one a word, newest first; unset: unsigned.",
    )


@cache
def settings() -> Settings:
    """The settings of this process, read once from its environment."""
    return Settings()  # type: ignore[call-arg]
