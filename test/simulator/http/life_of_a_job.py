"""The life of a job by boto3; prints one line for each thing that held, and fails at the first that did not."""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = sys.argv[1]
THING = "thing:py"
ARN = f"arn:aws:iot:us-east-1:123456789012:thing/{THING}"


def client(name):
    return boto3.client(
        name,
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"max_attempts": 0}),
    )


iot, jobs = client("iot"), client("iot-jobs-data")


def held(rule, fact):
    if not fact:
        raise SystemExit(f"{rule} did not hold")
    print(rule)


def raises(rule, kind, call, **members):
    try:
        call(**members)
    except kind as error:
        held(rule, error.response["Error"]["Code"] == kind.__name__ and error.response["Error"]["Message"])
        return error.response
    except ClientError as error:
        raise SystemExit(f"{rule}: {type(error).__name__} {error}")
    raise SystemExit(f"{rule}: not refused")


iot.create_thing(thingName=THING)
one = {"jobId": "one", "thingName": THING}


def create(job, **more):
    return iot.create_job(**{"jobId": job, "targets": [ARN], "document": '{"a":1}', **more})


held("C4: stamps are dates", create("one")["jobArn"].endswith(":job/one") and iot.describe_job(jobId="one")["job"]["createdAt"].year >= 2024)
pending = jobs.get_pending_job_executions(thingName=THING)
held("C8: GetPending and ListJobExecutionsForThing share a path", [e["jobId"] for e in pending["queuedJobs"]] == ["one"])
held("C24: the status is in the summary", iot.list_job_executions_for_thing(thingName=THING)["executionSummaries"][0]["jobExecutionSummary"]["status"] == "QUEUED")
front = jobs.describe_job_execution(jobId="$next", thingName=THING)["execution"]
held("D2: whole seconds, the document as text", isinstance(front["queuedAt"], int) and front["jobDocument"] == '{"a":1}')
started = jobs.start_next_pending_job_execution(thingName=THING, statusDetails={"step": "1"})["execution"]
held("P12: start-next starts", started["status"] == "IN_PROGRESS" and started["versionNumber"] == 2)

errors = iot.exceptions
raises("C12: in progress needs force", errors.InvalidStateTransitionException, iot.cancel_job_execution, **one)
raises("C13: VersionConflictException", errors.VersionConflictException, iot.cancel_job_execution, **one, force=True, expectedVersion=1)
raises("C13: ResourceNotFoundException", errors.ResourceNotFoundException, iot.cancel_job_execution, jobId="no", thingName=THING)
raises("C5: InvalidRequestException", errors.InvalidRequestException, iot.cancel_job_execution, **one, force=True, statusDetails={"k": "a\nb"})
answer = iot.cancel_job_execution(**one, force=True, statusDetails={"why": "x"})
held("C11: an empty answer", answer["ResponseMetadata"]["HTTPStatusCode"] == 200)
raises("C12: ended is ended", errors.InvalidStateTransitionException, iot.cancel_job_execution, **one, force=True)
execution = iot.describe_job_execution(**one)["execution"]
held("C23: nested details", execution["statusDetails"]["detailsMap"] == {"why": "x"} and execution["forceCanceled"])
raises("P19, D3: TerminalStateException", jobs.exceptions.TerminalStateException, jobs.describe_job_execution, **one)
raises("S6: an update after the end", jobs.exceptions.InvalidStateTransitionException, jobs.update_job_execution, **one, status="SUCCEEDED")
raises("D3: ResourceNotFoundException", jobs.exceptions.ResourceNotFoundException, jobs.describe_job_execution, jobId="no", thingName=THING)
raises("P21: a status that no device has", jobs.exceptions.InvalidRequestException, jobs.update_job_execution, **one, status="QUEUED")

existing = raises("C3: ResourceAlreadyExistsException", errors.ResourceAlreadyExistsException, create, job="one")
held("C3: it names the job", existing["resourceId"] == "one")
create("two")
raises("D4: a stale version", jobs.exceptions.InvalidStateTransitionException, jobs.update_job_execution, jobId="two", thingName=THING, status="IN_PROGRESS", expectedVersion=7)
state = jobs.update_job_execution(jobId="two", thingName=THING, status="SUCCEEDED", includeJobExecutionState=True)
held("P24: the version grows", state["executionState"]["versionNumber"] == 2)
held("S27: the job is complete", iot.describe_job(jobId="two")["job"]["status"] == "COMPLETED")
held("P14: nothing is pending", "execution" not in jobs.start_next_pending_job_execution(thingName=THING))
create("three")
raises("C20: DeleteJob needs force", errors.InvalidStateTransitionException, iot.delete_job, jobId="three")
iot.delete_job(jobId="three", force=True)
pages = iot.get_paginator("list_jobs").paginate(PaginationConfig={"PageSize": 1})
held("C25: pages", [job["jobId"] for page in pages for job in page["jobs"]] == ["one", "two"])
managed = iot.describe_managed_job_template(templateName="AWS-Run-Command")
iot.create_job(
    jobId="four", targets=[ARN], jobTemplateArn=managed["templateArn"], documentParameters={"command": "echo,hi"}
)
held("J11: parameters", '"command":"echo,hi"' in iot.get_job_document(jobId="four")["document"])
print("done")
