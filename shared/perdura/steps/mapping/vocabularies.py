"""Values of InvenioRDM's vocabularies that every instance has (inveniordm.md 1.2), and what Sources call them."""

from __future__ import annotations

RESOURCE_TYPES = frozenset(
    [
        "publication",
        "publication-annotationcollection",
        "publication-book",
        "publication-section",
        "publication-conferencepaper",
        "publication-conferenceproceeding",
        "publication-datamanagementplan",
        "publication-journal",
        "publication-article",
        "publication-patent",
        "publication-peerreview",
        "publication-preprint",
        "publication-deliverable",
        "publication-milestone",
        "publication-proposal",
        "publication-report",
        "publication-softwaredocumentation",
        "publication-taxonomictreatment",
        "publication-technicalnote",
        "publication-workingpaper",
        "publication-datapaper",
        "publication-dissertation",
        "publication-standard",
        "publication-studyregistration",
        "publication-other",
        "poster",
        "presentation",
        "event",
        "dataset",
        "image",
        "image-figure",
        "image-plot",
        "image-drawing",
        "image-diagram",
        "image-photo",
        "image-other",
        "model",
        "video",
        "audio",
        "software",
        "software-computationalnotebook",
        "lesson",
        "other",
        "physicalobject",
        "workflow",
        "project",
        "instrument",
    ]
)
CALLED = {
    "article": "publication-article", "book": "publication-book", "preprint": "publication-preprint",
    "thesis": "publication-dissertation", "dissertation": "publication-dissertation", "report": "publication-report",
    "conferencepaper": "publication-conferencepaper", "journalarticle": "publication-article",
    "text": "publication", "audiovisual": "video", "movingimage": "video", "movie": "video", "sound": "audio",
    "stillimage": "image", "photo": "image-photo", "photolab": "image-photo", "picture": "image-photo",
    "computationalnotebook": "software-computationalnotebook", "slides": "presentation", "talk": "presentation",
    "collection": "dataset", "supplementaries": "dataset", "environment": "software", "conference": "event",
    "lecture": "event", "meeting": "event", "datapaper": "publication-datapaper", "standard": "publication-standard",
    "peerreview": "publication-peerreview", "journal": "publication-journal", "bookchapter": "publication-section",
    "conferenceproceeding": "publication-conferenceproceeding", "outputmanagementplan":
    "publication-datamanagementplan", "interactiveresource": "other", "service": "other", "articles & preprints":
    "publication-preprint", "videoslhc": "video", "videos": "video", "cern-video": "video",
}  # fmt: skip
NEARLY = frozenset(
    [
        "collection", "conference", "environment", "interactiveresource", "lecture", "meeting", "photolab", "picture",
        "service", "supplementaries", "videoslhc",
    ]
)  # fmt: skip
"""Those of `CALLED` that tell more than the type which they become."""
RELATIONS = frozenset(
    [
        "iscitedby",
        "cites",
        "issupplementto",
        "issupplementedby",
        "iscontinuedby",
        "continues",
        "isdescribedby",
        "describes",
        "hasmetadata",
        "ismetadatafor",
        "hasversion",
        "isversionof",
        "isnewversionof",
        "ispreviousversionof",
        "ispartof",
        "haspart",
        "ispublishedin",
        "isreferencedby",
        "references",
        "isdocumentedby",
        "documents",
        "iscompiledby",
        "compiles",
        "isvariantformof",
        "isoriginalformof",
        "isidenticalto",
        "isreviewedby",
        "reviews",
        "isderivedfrom",
        "issourceof",
        "isrequiredby",
        "requires",
        "isobsoletedby",
        "obsoletes",
    ]
)
ROLES = frozenset(
    [
        "contactperson",
        "datacollector",
        "datacurator",
        "datamanager",
        "distributor",
        "editor",
        "hostinginstitution",
        "producer",
        "projectleader",
        "projectmanager",
        "projectmember",
        "registrationagency",
        "registrationauthority",
        "relatedperson",
        "researcher",
        "researchgroup",
        "rightsholder",
        "sponsor",
        "supervisor",
        "workpackageleader",
        "other",
    ]
)
DATE_TYPES = frozenset(
    [
        "accepted",
        "available",
        "collected",
        "copyrighted",
        "created",
        "issued",
        "other",
        "submitted",
        "updated",
        "valid",
        "withdrawn",
    ]
)
TITLE_TYPES = frozenset(["alternative-title", "subtitle", "translated-title", "other"])
DESCRIPTION_TYPES = frozenset(
    ["abstract", "methods", "series-information", "table-of-contents", "technical-info", "other"]
)
LANGUAGES = {
    "en": "eng", "fr": "fra", "de": "deu", "it": "ita", "es": "spa", "pt": "por", "nl": "nld", "sv": "swe", "no": "nor",
    "nb": "nob", "da": "dan", "fi": "fin", "pl": "pol", "cs": "ces", "sk": "slk", "sl": "slv", "hu": "hun", "ro": "ron",
    "bg": "bul", "el": "ell", "ru": "rus", "uk": "ukr", "tr": "tur", "ar": "ara", "he": "heb", "hi": "hin",
    "ja": "jpn", "ko": "kor", "zh": "zho", "ca": "cat", "eu": "eus", "ga": "gle", "lt": "lit", "lv": "lav",
    "et": "est", "hr": "hrv", "sr": "srp", "fre": "fra", "ger": "deu", "dut": "nld", "cze": "ces", "gre": "ell",
    "chi": "zho", "rum": "ron", "slo": "slk", "baq": "eus", "english": "eng", "french": "fra", "german": "deu",
}  # fmt: skip
