# shellcheck shell=bash
# What deploy, settings, smoke, cleanup and package share. Sourced, not run.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me=$(basename "$0")

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { say "$@"; exit 1; }

# Every missing tool at once: [tool, where to get it]…
need() {
  local missing=()
  while (($#)); do
    command -v "$1" >/dev/null || missing+=("$1 ($2)")
    shift 2
  done
  ((${#missing[@]} == 0)) || die "missing: $(printf '%s; ' "${missing[@]}" | sed 's/; $//')"
}
need_aws() { need aws https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html; }

# Both names: version 1 of the command line knows the second only.
use_region() { export AWS_REGION=$1 AWS_DEFAULT_REGION=$1; }

# Version 1 of the command line overlooks an endpoint set for SQS.
sqs() {
  local endpoint=${AWS_ENDPOINT_URL_SQS:-${AWS_ENDPOINT_URL:-}}
  aws ${endpoint:+--endpoint-url "$endpoint"} sqs "$@"
}

# Which of the two deployments the command is about, the first argument; for the CDK also which stack, and where: the others
# may say (-c name=…, -c aws_region=…).
kind=''
choose_kind() {
  case ${1:-} in
    terraform)
      kind=terraform
      need terraform https://developer.hashicorp.com/terraform/install
      ;;
    cdk)
      kind=cdk
      need_aws
      stack=$(context name "$@")
      use_region "$(context aws_region "$@")"
      ;;
    '') usage >&2; exit 2 ;;
    *) usage >&2; die "there is no deployment '$1'; name terraform or cdk" ;;
  esac
}

[[ -t 1 ]] || export TF_CLI_ARGS="${TF_CLI_ARGS:-} -no-color"
terraform_() { terraform -chdir="$repo/terraform" "$@"; }

# A folder of providers at hand, by TF_PLUGIN_DIR or in the usual places; else Terraform asks the registry.
plugin_dir() {
  if [[ -n ${TF_PLUGIN_DIR:-} ]]; then
    [[ -d $TF_PLUGIN_DIR/registry.terraform.io ]] ||
      die "TF_PLUGIN_DIR is $TF_PLUGIN_DIR, which holds no folder registry.terraform.io"
    printf '%s' "$TF_PLUGIN_DIR"
    return
  fi
  local place found
  for place in ~/.terraform.d /usr/local/share /usr/share /opt; do
    found=$(find "$place" -maxdepth 3 -type d -name registry.terraform.io -print -quit 2>/dev/null || true)
    if [[ -n $found ]]; then dirname "$found"; return; fi
  done
}

terraform_init() {
  local mirror arguments=(-input=false)
  mirror=$(plugin_dir)
  [[ -z $mirror ]] || arguments+=("-plugin-dir=$mirror")
  terraform_ init "${arguments[@]}" >/dev/null || die "terraform init failed; its words are above"
}

# The CDK with its libraries: a venv and node_modules beside the app, made when they are missing or out of date; or the venv
# that SMOOTHER_CDK_VENV names, as it is.
cdk_prepare() {
  need python3 "Python 3.11 or newer" node https://nodejs.org npm https://nodejs.org
  cdk_venv=${SMOOTHER_CDK_VENV:-$repo/cdk/.venv}
  local stamp=$cdk_venv/smoother-stamp want
  want=$(cksum <"$repo/cdk/requirements.txt")
  if [[ -z ${SMOOTHER_CDK_VENV:-} && (! -f $stamp || $(<"$stamp") != "$want") ]]; then
    say "installing the CDK's libraries into $cdk_venv"
    python3 -m venv --clear "$cdk_venv"
    "$cdk_venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$repo/cdk/requirements.txt"
    printf '%s\n' "$want" >"$stamp"
  fi
  [[ -x $repo/cdk/node_modules/.bin/cdk ]] ||
    (cd "$repo/cdk" && npm install --no-package-lock --no-audit --no-fund --loglevel=error >&2)
}
cdk_() { (cd "$repo/cdk" && PATH=$cdk_venv/bin:$PATH node_modules/.bin/cdk "$@"); }

# A value of the CDK's context: as an argument says (-c NAME=VALUE), else as cdk.json has it.
context() {
  local name=$1 previous='' argument value
  shift
  value=$(sed -n "s/^ *\"$name\": \"\([^\"]*\)\",*\$/\1/p" "$repo/cdk/cdk.json")
  for argument in "$@"; do
    case $previous=$argument in -c="$name"=* | --context="$name"=*) value=${argument#"$name"=} ;; esac
    previous=$argument
  done
  printf '%s' "$value"
}

# An output of the deployment, by its name in Terraform: input_queue_url is InputQueueUrl of the stack.
output() {
  local value
  if [[ $kind == terraform ]]; then
    value=$(terraform_ output -raw "$1" 2>/dev/null) ||
      die "terraform has no output $1; was this deployed from here? (scripts/deploy terraform)"
  else
    local key
    key=$(awk -F_ '{ for (i = 1; i <= NF; i++) printf "%s%s", toupper(substr($i, 1, 1)), substr($i, 2) }' <<<"$1")
    value=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
      --query "Stacks[0].Outputs[?OutputKey=='$key'].OutputValue | [0]") ||
      die "the stack $stack cannot be read; was it deployed? (scripts/deploy cdk; of another name or Region: -c name=… -c aws_region=…)"
    [[ $value != None ]] || die "the stack $stack has no output $key"
  fi
  printf '%s' "$value"
}
