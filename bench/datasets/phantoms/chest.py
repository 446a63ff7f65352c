"""Phantoms of the Large COVID-19 CT slices: drawn chest CT of normal, COVID-like and CAP-like patients, with metadata.

The slices are those of `lung.py`: ground glass for COVID, consolidation for CAP. As in the data set, the tables of the
metadata are of different encodings, and some patients' slices are JPEG data under a .png name. Sources are dealt to the
classes alike, unlike in the data set, so that a network has to look at the lungs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.datasets.phantoms import lung

# Raise it when the same seed draws other images.
VERSION = 1
# Patients of each class, and slices of each patient.
PATIENTS, SLICES = 10, 5
_CLASSES = {"normal": ("1NonCOVID", "normal"), "covid": ("2COVID", "covid"), "cap": ("3CAP", "cap")}
_SOURCES = ("Ashgrove", "Birchwood", "Cedarfield")
_INFECTION = {"normal": "Normal", "covid": "COVID-19", "cap": "CAP"}


def draw(folder: Path, seed: int = 0, patients: int = PATIENTS, slices: int = SLICES) -> None:
    """Writes `curated_data/{1NonCOVID,2COVID,3CAP}/*.png` and `meta_data_{normal,covid,cap}.csv`.

    Args:
        seed: the same seed gives the same images; a patient does not depend on how many there are.
        patients: of each class.
        slices: of each patient.
    """
    from PIL import Image

    for number, (finding, (place, table)) in enumerate(_CLASSES.items()):
        target = folder / "curated_data" / "curated_data" / place
        target.mkdir(parents=True)
        rows = ["index,File name,Patient ID,Gender,Age,Country,COVID-19 Infection,Slice,Institution"]
        for k in range(patients):
            rng = np.random.default_rng([seed, 100 + lung.FINDINGS.index(finding), k, VERSION])
            patient = lung.new_patient(rng, float(np.random.default_rng([seed, k, VERSION]).uniform(0.75, 1.2)))
            source = _SOURCES[(k + seed) % 3]
            name = f"patient{len(_CLASSES) * k + number + 1}"
            person = f"{'FM'[k % 2]},{30 + (7 * k) % 50},Nowhere"
            for i, image in enumerate(lung.series(patient, finding, slices, rng)):
                file = f"{k % 3}_{source}_{name}_{i:02d}.png"
                Image.fromarray(image).save(target / file, format="JPEG" if k % 5 == 4 else "PNG", quality=95)
                rows.append(f"{len(rows) - 1},{file},{name},{person},{_INFECTION[finding]},{i},Clínica {source}")
        encoding = "cp1252" if finding == "covid" else "utf-8-sig"
        (folder / f"meta_data_{table}.csv").write_text("\r\n".join(rows) + "\r\n", encoding=encoding, newline="")
