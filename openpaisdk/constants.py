# SPDX-License-Identifier: MIT
"""File names, variable names, defaults and limits; imports nothing."""

VERSION = "0.2.0"

# --- files of the user -------------------------------------------------------------------------
HOME_VARIABLE = "OPENPAI_HOME"
"""Environment variable that moves ``~/.openpai``."""
HOME_FOLDER = ".openpai"
"""Name of the folder of settings, in the home and in a project."""
CLUSTERS_FILE = "clusters.json"
CLUSTERS_FILE_YAML = "clusters.yaml"
DEFAULTS_FILE = "defaults.json"
LAST_JOB_FILE = "last-job.json"
"""In a project's ``.openpai``: the job submitted last from that directory."""

SETTING_PREFIX = "PAI_SDK_"
"""Prefix of the environment variables that set a default (``PAI_SDK_CLUSTER_ALIAS``)."""

# --- the embedded cluster ----------------------------------------------------------------------
LOCAL_ALIAS = "local"
LOCAL_FOLDER = "local"
"""Below the home: everything of the embedded cluster."""
LOCAL_SERVER_FILE = "server.json"
LOCAL_CONFIG_FILE = "config.json"
LOCAL_LOG_FILE = "server.log"
EXTENSION_PREFIX = "/local/v1"
"""Path of the embedded cluster's own endpoints (waiting, following), beside OpenPAI's API."""

# --- the REST API ------------------------------------------------------------------------------
BODY_LIMIT_BYTES = 100 * 1024
"""Largest body that a rest-server takes (spec: rest-api-v2 §1)."""
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
RETRY_AFTER_LIMIT_S = 60.0
"""Waits that ``Retry-After`` asks for are obeyed up to this sum, then an error says how long."""

HDFS_HINT = "opai cluster add … --hdfs-web-uri http://host:9870 names the cluster's storage"

# --- jobs --------------------------------------------------------------------------------------
EXTRAS_KEY = "openpaisdk"
"""Key under ``extras`` of a protocol document where this SDK keeps what it needs of a job."""
OWN_STORAGE = "hdfs://"
"""Address, without a host, of the storage that a job's folder is on: ``hdfs:///user/alice/images.tar``."""
CODE_FOLDER = "code"
OUTPUT_FOLDER = "output"
ARCHIVE_NAME = "sources-{}.tar.gz"
"""Name of a job's packed sources in its code folder on storage; each ``Job`` fills in letters of its own, so
that of two submissions that race for one name neither touches the other's file."""
RUNTIME_FOLDER = ".openpaisdk"
"""In a job's archive, and in its working folder: what is the SDK's and not the user's."""
WORKSPACE_VARIABLE = "PAI_SDK_JOB_WORKSPACE"
OUTPUT_URI_VARIABLE = "PAI_SDK_JOB_OUTPUT_URI"
OUTPUT_DIR_VARIABLE = "PAI_SDK_JOB_OUTPUT_DIR"
TOKEN_FILE_VARIABLE = "PAI_SDK_TOKEN_FILE"
"""In a task of the embedded cluster: path of the 0600 file with the attempt's storage token."""
CLUSTER_URI_VARIABLE = "PAI_SDK_CLUSTER_URI"
"""In a job: address of the cluster it runs on, for ``Cluster.from_env``."""
CLUSTER_TOKEN_VARIABLE = "PAI_SDK_CLUSTER_TOKEN"
"""In a job that was given one: a token of the cluster it runs on."""
SERVER_STORES_OUTPUTS_VARIABLE = "PAI_SDK_SERVER_STORES_OUTPUTS"
"""Set to 1 where the cluster itself stores a task's outputs, so that the job must not."""
