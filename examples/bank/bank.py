"""A bank that several clients share, and what `liferaft sim` needs to try it.

`Bank` is a plain class: nothing in it knows that it is replicated. `workload` is what a client of
it does, `no_money_lost` what must hold on every node at any time.
"""

import random as random_module
from typing import Any

import liferaft

ACCOUNTS = ("alice", "bob", "carol")


class InsufficientFunds(Exception):
    """The account has less than what was to be taken from it."""

    account: str
    balance: int

    def __init__(self, account: str, balance: int) -> None:
        super().__init__(f"{account} has {balance}")
        self.account = account
        self.balance = balance


class Bank:
    """Accounts with whole amounts of one currency, none below zero."""

    def __init__(self) -> None:
        self.accounts: dict[str, int] = {}
        self.deposited = 0

    def deposit(self, account: str, amount: int) -> int:
        """Add to an account, opening it where needed, and return its balance."""
        self.accounts[account] = self.accounts.get(account, 0) + amount
        self.deposited += amount
        return self.accounts[account]

    @liferaft.raises(InsufficientFunds)
    def transfer(self, source: str, target: str, amount: int) -> None:
        """Move an amount from one account to another, or raise and move nothing."""
        balance = self.accounts.get(source, 0)
        if balance < amount:
            raise InsufficientFunds(source, balance)
        self.accounts[source] = balance - amount
        self.accounts[target] = self.accounts.get(target, 0) + amount

    @liferaft.query
    def balances(self) -> dict[str, int]:
        """Return the balance of every account."""
        return dict(self.accounts)


async def workload(bank: Any, random: random_module.Random) -> None:
    """Do one thing, as one of several clients; `random` makes every run repeatable."""
    choice = random.random()
    if choice < 0.3:
        await bank.deposit(random.choice(ACCOUNTS), random.randint(1, 100))
    elif choice < 0.8:
        source, target = random.sample(ACCOUNTS, 2)
        await bank.transfer(source, target, random.randint(1, 100))
    else:
        balances = await bank.balances()
        assert all(balance >= 0 for balance in balances.values()), balances


def no_money_lost(bank: Bank) -> None:
    """Look at one node's bank: what was deposited is there, wherever it was moved to."""
    assert sum(bank.accounts.values()) == bank.deposited, bank.accounts
