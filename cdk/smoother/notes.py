"""Findings of cdk-nag that are meant to be, with the reason, noted where they arise. Nothing of it is deployed."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, reasons: dict[str, str]) -> None:
    """`reasons` by the rule of the AwsSolutions pack, such as S1."""
    Validations.of(construct).acknowledge(
        *(Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason) for rule, reason in reasons.items())
    )
