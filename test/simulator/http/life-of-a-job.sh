#!/bin/sh
# The life of a job by the aws CLI: aws, endpoint. Ends with an error at the first thing that did not hold.
set -eu
aws=$1
endpoint=$2
export AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_DEFAULT_REGION=us-east-1 AWS_MAX_ATTEMPTS=1 AWS_PAGER=
arn=arn:aws:iot:us-east-1:123456789012:thing/cli

iot() { "$aws" iot --endpoint-url "$endpoint" --output text "$@"; }
refused() {
  wanted=$1
  shift
  if answer=$("$@" 2>&1); then echo "not refused: $*"; exit 1; fi
  case $answer in *"($wanted)"*) echo "refused: $wanted" ;; *) echo "$answer"; exit 1 ;; esac
}

iot create-thing --thing-name cli >/dev/null
iot create-job --job-id one --targets "$arn" --document '{"a":1}' --query jobId
"$aws" iot-jobs-data --endpoint-url "$endpoint" --output text start-next-pending-job-execution --thing-name cli \
  --query execution.status
refused InvalidStateTransitionException iot cancel-job-execution --job-id one --thing-name cli
refused VersionConflictException iot cancel-job-execution --job-id one --thing-name cli --force --expected-version 1
iot cancel-job-execution --job-id one --thing-name cli --force --status-details why=x
iot describe-job-execution --job-id one --thing-name cli --query execution.status
refused TerminalStateException "$aws" iot-jobs-data --endpoint-url "$endpoint" describe-job-execution --job-id one \
  --thing-name cli
