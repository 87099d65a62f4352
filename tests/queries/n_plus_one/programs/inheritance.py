"""Hierarchies of classes: joined tables, one table, a table each."""

from __future__ import annotations

from n_plus_one.corpus import Fault, program
from n_plus_one.library import (
    Company,
    Employee,
    Engineer,
    Invoice,
    Manager,
    Paper,
    Truck,
    Vehicle,
)
from sqlalchemy import select
from sqlalchemy.orm import Session, selectin_polymorphic, selectinload, with_polymorphic


@program(
    Fault(
        place="Employee.badges",
        times=20,
        remedy="select(Employee).options(selectinload(Employee.badges))",
    ),
)
def of_the_base_class(session: Session, *options) -> None:
    for employee in session.scalars(select(Employee).options(*options)):
        assert employee.badges is not None


@program(
    Fault(
        place="Employee.badges", remedy="select(Engineer).options(selectinload(Engineer.badges))"
    ),
)
def of_the_base_class_by_a_query_for_the_subclass(session: Session, *options) -> None:
    for engineer in session.scalars(select(Engineer).options(*options)):
        assert engineer.badges


@program(
    Fault(
        place="Engineer.machines",
        remedy="select(Engineer).options(selectinload(Engineer.machines))",
    ),
)
def of_the_subclass(session: Session, *options) -> None:
    for engineer in session.scalars(select(Engineer).options(*options)):
        assert engineer.machines


@program(
    Fault(
        place="Engineer.machines",
        remedy="select(Employee).options("
        "selectin_polymorphic(Employee, [Engineer]), selectinload(Engineer.machines))",
    ),
)
def of_the_subclass_by_a_query_for_the_base(session: Session, *options) -> None:
    for employee in session.scalars(select(Employee).options(*options)):
        assert isinstance(employee, Manager) or employee.machines


@program(
    Fault(
        place="Employee.company", remedy="select(Employee).options(joinedload(Employee.company))"
    ),
)
def to_one_of_the_base_class(session: Session, *options) -> None:
    for employee in session.scalars(select(Employee).options(*options)):
        assert employee.company.id


@program(
    Fault(
        place="Engineer.machines",
        path="Company.employees -> Engineer.machines",
        remedy="select(Company).options(selectinload(Company.employees.of_type(Engineer))"
        ".selectinload(Engineer.machines))",
    ),
)
def of_the_subclass_behind_a_relationship(session: Session, *options) -> None:
    stmt = select(Company).options(selectinload(Company.employees))
    if options:
        stmt = select(Company).options(*options)
    for company in session.scalars(stmt):
        for employee in company.employees:
            assert isinstance(employee, Manager) or employee.machines


@program(
    Fault(
        place="Employee.badges",
        times=20,
        path="Company.employees -> Employee.badges",
        remedy="select(Company).options(selectinload(Company.employees)"
        ".selectinload(Employee.badges))",
    ),
)
def of_the_base_class_behind_a_relationship(session: Session, *options) -> None:
    stmt = select(Company).options(selectinload(Company.employees), *options)
    for company in session.scalars(stmt):
        assert [employee.badges for employee in company.employees]


@program()
def columns_of_the_subclass(session: Session) -> None:
    """The ORM reads the subclass's table for each: its own polymorphic load."""
    for employee in session.scalars(select(Employee).where(Employee.kind == "engineer")):
        assert employee.language


@program()
def columns_of_the_subclass_by_selectin_polymorphic(session: Session) -> None:
    at_once = selectin_polymorphic(Employee, [Engineer, Manager])
    for employee in session.scalars(select(Employee).options(at_once)):
        assert employee.language if isinstance(employee, Engineer) else employee.budget


@program()
def columns_of_the_subclass_by_with_polymorphic(session: Session) -> None:
    for employee in session.scalars(select(with_polymorphic(Employee, "*"))):
        assert employee.language if isinstance(employee, Engineer) else employee.budget


@program(
    Fault(
        place="Engineer.machines",
        remedy="select(entity := with_polymorphic(Employee, [Engineer]))"
        ".options(selectinload(entity.Engineer.machines))",
    ),
)
def of_the_subclass_by_with_polymorphic(session: Session) -> None:
    for employee in session.scalars(select(with_polymorphic(Employee, [Engineer]))):
        assert isinstance(employee, Manager) or employee.machines


@of_the_subclass_by_with_polymorphic.mended
def _with_polymorphic_at_once(session: Session) -> None:
    stmt = select(entity := with_polymorphic(Employee, [Engineer]))
    for employee in session.scalars(stmt.options(selectinload(entity.Engineer.machines))):
        assert isinstance(employee, Manager) or employee.machines


@program()
def of_the_subclass_at_once(session: Session) -> None:
    at_once = selectin_polymorphic(Employee, [Engineer]), selectinload(Engineer.machines)
    for employee in session.scalars(select(Employee).options(*at_once)):
        assert isinstance(employee, Manager) or employee.machines


@program(
    Fault(
        place="Engineer.diploma",
        kind="deferred_one_by_one",
        remedy="select(Engineer).options(undefer(Engineer.diploma))",
    ),
)
def deferred_of_the_subclass(session: Session, *options) -> None:
    for engineer in session.scalars(select(Engineer).options(*options)):
        assert engineer.diploma


@program(
    Fault(
        place="Engineer.notes",
        kind="deferred_one_by_one",
        remedy="select(Engineer).options(undefer(Engineer.notes))",
    ),
)
def deferred_of_the_base_class(session: Session, *options) -> None:
    for engineer in session.scalars(select(Engineer).options(*options)):
        assert engineer.notes == ""


@program(
    Fault(place="Vehicle.owner", remedy="select(Vehicle).options(joinedload(Vehicle.owner))"),
)
def one_table_to_one(session: Session, *options) -> None:
    for vehicle in session.scalars(select(Vehicle).options(*options)):
        assert vehicle.owner.name


@program(
    Fault(place="Truck.loads", remedy="select(Truck).options(selectinload(Truck.loads))"),
)
def one_table_of_the_subclass(session: Session, *options) -> None:
    for truck in session.scalars(select(Truck).options(*options)):
        assert truck.loads


@program(
    Fault(
        place="Truck.loads",
        remedy="select(Vehicle).options("
        "selectin_polymorphic(Vehicle, [Truck]), selectinload(Truck.loads))",
    ),
)
def one_table_of_the_subclass_by_a_query_for_the_base(session: Session, *options) -> None:
    for vehicle in session.scalars(select(Vehicle).options(*options)):
        assert vehicle.kind == "vehicle" or vehicle.loads


@program()
def one_table_at_once(session: Session) -> None:
    for truck in session.scalars(select(Truck).options(selectinload(Truck.loads))):
        assert truck.loads


@program(
    Fault(place="Invoice.lines", remedy="select(Invoice).options(selectinload(Invoice.lines))"),
)
def a_table_each(session: Session, *options) -> None:
    for invoice in session.scalars(select(Invoice).options(*options)):
        assert invoice.lines


@program(
    Fault(place="Invoice.lines", remedy="select(Paper).options(selectinload(Invoice.lines))"),
)
def a_table_each_by_a_query_for_all(session: Session, *options) -> None:
    for paper in session.scalars(select(Paper).options(*options)):
        assert not isinstance(paper, Invoice) or paper.lines


@program()
def a_table_each_at_once(session: Session) -> None:
    for invoice in session.scalars(select(Invoice).options(selectinload(Invoice.lines))):
        assert invoice.lines
